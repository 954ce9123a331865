use super::compared::{EarlierPart, Out};
use super::*;
use crate::progress::{Progress, Silent};
use crate::repository::sample::Sample;
use crate::repository::{ChunkWriter, PACK_TARGET, Packer};
use crate::seal::{Chunk, Cutter, Sealer};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A table of rows, each a line.
type Table = Vec<Vec<u8>>;

/// A row of about a hundred bytes: a key and what was put into it last.
fn row(key: usize, version: u64) -> Vec<u8> {
    let filling = format!("{:x}", (key as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    format!("{key}\t{version}\t{}\n", filling.repeat(5)).into_bytes()
}

fn rows(count: usize) -> Table {
    (0..count).map(|key| row(key, 0)).collect()
}

/// A repository, and what the last backup into it refers to.
struct Backups {
    sample: Sample,
    references: Vec<ChunkReference>,
}

/// What a backup came to.
#[derive(Debug)]
struct Came {
    /// Bytes of rows that were stored.
    stored: usize,
    /// Rows that are read where the backup is.
    rows: Vec<Vec<u8>>,
}

impl Backups {
    async fn new() -> Self {
        Self { sample: Sample::new(true).await, references: Vec::new() }
    }

    /// Backs up a table as one part, `is_first` or not, and reads it back.
    async fn back_up(&mut self, table: &Table, part: usize) -> Came {
        let repository = self.sample.open().await.unwrap();
        let run = repository.begin_run().await.unwrap();
        let secrets = repository.secrets().unwrap().clone();
        let key = repository.new_data_key().await.unwrap().map(|(key, _)| key);
        let progress: Arc<dyn Progress> = Arc::new(Silent);
        let packer = Packer::new(&repository, PACK_TARGET);
        let (writer, packing) =
            ChunkWriter::begin(&secrets, &Sealer::new(key), run.known().clone(), packer, &progress);
        let reader = ChunkReader::open(&repository).await.unwrap();
        let earlier = EarlierTable::new(self.references.clone(), RowEncoding::CopyText, &reader);
        let mut compared = EarlierPart::new(Arc::new(earlier), writer.clone(), part, 0, None);
        let mut cutter = Cutter::new(&secrets);
        let mut chunks = Vec::new();
        table.iter().for_each(|row| cutter.push(row, |chunk| chunks.push(chunk)));
        chunks.extend(cutter.finish());
        let (mut outs, mut stored) = (Vec::new(), 0);
        for chunk in chunks {
            let reference = writer.reference_of(&chunk);
            outs.extend(match writer.has(&reference.id) {
                true => compared.pass(reference),
                false => compared.take(reference.id, chunk).await,
            });
        }
        outs.extend(compared.finish().unwrap());
        let (mut references, mut gathered) = (Vec::new(), Vec::new());
        let mut store = async |chunk: Chunk| {
            stored += chunk.plain.len();
            writer.write(FrameType::Rows, chunk).await.unwrap()
        };
        for out in outs {
            match out {
                Out::Chunk(_, chunk) => references.push(store(chunk).await),
                Out::Reference(reference) => references.push(reference),
                Out::Gathered(at, chunk) => gathered.push((at, store(chunk).await)),
                Out::GatheredBefore(at, reference) => gathered.push((at, reference)),
            }
        }
        self.references = placed(references, gathered);
        let ((), ..) = writer.end(Ok(()), packing).await.unwrap();
        run.end().await;
        Came { stored, rows: self.read().await }
    }

    async fn read(&self) -> Vec<Vec<u8>> {
        let reader = ChunkReader::open(&self.sample.open().await.unwrap()).await.unwrap();
        let mut rows = Vec::new();
        for reference in &self.references {
            let plain = reader.read_rows(reference, RowEncoding::CopyText).await.unwrap();
            rows.extend(plain.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        }
        rows
    }

    /// Bytes that are read to have all rows.
    async fn read_bytes(&self) -> usize {
        let reader = ChunkReader::open(&self.sample.open().await.unwrap()).await.unwrap();
        let mut bytes = 0;
        for reference in &self.references {
            bytes += reader.read_whole(reference, FrameType::Rows).await.unwrap().len();
        }
        bytes
    }
}

/// How often each row is there.
fn counted(rows: &[Vec<u8>]) -> BTreeMap<&[u8], usize> {
    let mut counts = BTreeMap::new();
    rows.iter().for_each(|row| *counts.entry(row.as_slice()).or_default() += 1);
    counts
}

fn bytes(table: &Table) -> usize {
    table.iter().map(Vec::len).sum()
}

/// Updates each row whose number modulo 100 is `which`: the old version goes, the new one comes a few rows
/// behind it, as where a page has room.
fn update(table: &mut Table, which: usize, version: u64) {
    let keys: Vec<usize> = (which..table.len()).step_by(100).collect();
    for at in keys.into_iter().rev() {
        let old = table.remove(at);
        let key = String::from_utf8(old).unwrap().split('\t').next().unwrap().parse().unwrap();
        table.insert((at + 7).min(table.len()), row(key, version));
    }
}

#[tokio::test]
async fn of_rows_that_changed_here_and_there_only_they_are_stored() {
    let mut table = rows(40_000);
    let mut backups = Backups::new().await;
    let first = backups.back_up(&table, 0).await;
    assert_eq!(first.stored, bytes(&table));
    update(&mut table, 3, 1);
    let second = backups.back_up(&table, 0).await;
    // A hundredth, and at most one chunk that is not worth looking at.
    assert!(second.stored * 20 < first.stored, "{} of {}", second.stored, first.stored);
    assert!(counted(&second.rows) == counted(&table));
    let again = backups.back_up(&table, 0).await;
    assert_eq!(again.stored, 0);
    assert!(counted(&again.rows) == counted(&table));
}

#[tokio::test]
async fn a_part_finds_its_place_by_what_its_chunks_end_with() {
    let table = rows(80_000);
    let (first, second) = table.split_at(40_000);
    let mut backups = Backups::new().await;
    backups.back_up(&first.to_vec(), 0).await;
    let before = backups.references.clone();
    backups.back_up(&second.to_vec(), 0).await;
    backups.references.splice(0..0, before);
    let mut part = second.to_vec();
    update(&mut part, 3, 1);
    let came = backups.back_up(&part, 1).await;
    assert!(came.stored * 20 < bytes(&part), "{} of {}", came.stored, bytes(&part));
    assert!(counted(&came.rows) == counted(&part));
}

#[tokio::test]
async fn many_backups_store_little_each_and_a_restore_reads_little_more_than_the_rows() {
    let mut table = rows(40_000);
    let mut backups = Backups::new().await;
    let first = backups.back_up(&table, 0).await.stored;
    let mut stored = 0;
    for day in 1..=40_u64 {
        update(&mut table, usize::try_from(day * 7 % 100).unwrap(), day);
        let came = backups.back_up(&table, 0).await;
        assert!(counted(&came.rows) == counted(&table), "day {day}");
        stored += came.stored;
        let read = backups.read_bytes().await;
        assert!(read * 2 < 3 * bytes(&table), "day {day} reads {read} of {}", bytes(&table));
    }
    // Each chunk once or twice anew when a quarter of its rows is gone, and what changed.
    assert!(stored < 4 * first, "{stored} of {first}");
}

#[tokio::test]
async fn gathered_rows_fill_chunk_after_chunk() {
    let long = |key: usize, version: u64| {
        let text = String::from_utf8(row(key, version)).unwrap();
        format!("{}{}\n", text.trim_end(), "-".repeat(5000)).into_bytes()
    };
    let mut table: Table = (0..9000).map(|key| long(key, 0)).collect();
    let mut backups = Backups::new().await;
    backups.back_up(&table, 0).await;
    // Keys are others each time, and with them the places of cuts: a chunk may be stored because those
    // around it are merged. Of this many chunks that are few.
    (0..table.len()).step_by(15).for_each(|at| table[at] = long(at, 1));
    let second = backups.back_up(&table, 0).await;
    assert!(counted(&second.rows) == counted(&table));
    assert!(second.stored * 3 < bytes(&table), "{} of {}", second.stored, bytes(&table));
}

#[tokio::test]
async fn rows_that_are_alike_are_there_as_often_as_they_were() {
    let table: Table = (0..30_000).map(|n| row(n / 3 % 50, 0)).collect();
    let mut backups = Backups::new().await;
    backups.back_up(&table, 0).await;
    let fewer: Table =
        table.iter().enumerate().filter(|(n, _)| n % 90 != 0).map(|(_, row)| row.clone()).collect();
    let second = backups.back_up(&fewer, 0).await;
    assert!(counted(&second.rows) == counted(&fewer));
    let third = backups.back_up(&table, 0).await;
    assert!(counted(&third.rows) == counted(&table));
}

#[tokio::test]
async fn a_table_that_was_emptied_refers_to_no_chunk_of_which_little_is_left() {
    let table = rows(40_000);
    let mut backups = Backups::new().await;
    backups.back_up(&table, 0).await;
    let left: Table = table.iter().step_by(10).cloned().collect();
    let second = backups.back_up(&left, 0).await;
    assert!(counted(&second.rows) == counted(&left));
    let read = backups.read_bytes().await;
    assert!(read < 2 * bytes(&left), "{read} of {}", bytes(&left));
}

#[tokio::test]
async fn a_table_of_which_half_the_rows_changed_is_stored_and_refers_to_little() {
    let mut table = rows(60_000);
    let mut backups = Backups::new().await;
    backups.back_up(&table, 0).await;
    (0..table.len()).step_by(2).for_each(|at| table[at] = row(at, 1));
    let second = backups.back_up(&table, 0).await;
    assert!(counted(&second.rows) == counted(&table));
    assert!(backups.read_bytes().await < 2 * bytes(&table));
    // The next one finds what that one stored.
    update(&mut table, 3, 2);
    let third = backups.back_up(&table, 0).await;
    assert!(third.stored * 20 < bytes(&table), "{} of {}", third.stored, bytes(&table));
    assert!(counted(&third.rows) == counted(&table));
}

#[tokio::test]
async fn what_cannot_be_read_is_stored_again() {
    let mut table = rows(20_000);
    let mut backups = Backups::new().await;
    backups.back_up(&table, 0).await;
    for reference in &backups.references {
        backups.sample.rot(&reference.id);
    }
    update(&mut table, 3, 1);
    let second = backups.back_up(&table, 0).await;
    assert_eq!(second.stored, bytes(&table));
    assert!(counted(&second.rows) == counted(&table));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_backup_has_the_rows_of_its_table_whatever_was_done_to_it(
        steps in prop::collection::vec((0_usize..12_000, 0_usize..12_000, 0_usize..6, 1_usize..400), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut table = rows(12_000);
            let mut backups = Backups::new().await;
            backups.back_up(&table, 0).await;
            for (version, (from, to, what, every)) in steps.into_iter().enumerate() {
                let (from, to) = (from.min(to).min(table.len()), from.max(to).min(table.len()));
                match what {
                    // Rows go, come, change, move, are there twice, change all over.
                    0 => drop(table.drain(from..to)),
                    1 => {
                        let new = (0..to - from).map(|key| row(key, version as u64 + 100));
                        table.splice(from..from, new);
                    }
                    2 => (from..to).for_each(|at| table[at] = row(at, version as u64 + 1)),
                    3 => table[from..to].reverse(),
                    4 => {
                        let twice = table[from..to].to_vec();
                        table.extend(twice);
                    }
                    _ => (0..table.len()).step_by(every).for_each(|at| table[at] = row(at, version as u64 + 1)),
                }
                let came = backups.back_up(&table, 0).await;
                assert!(counted(&came.rows) == counted(&table));
            }
        });
    }
}
