//! Cuts a run of rows into chunks.
//!
//! A chunk ends only behind a row, where a keyed hash of that row, or of a part of it, says so; so a
//! row that is inserted or changed moves no cut behind the next one, and tomorrow's unchanged rows
//! fall into the same chunks. Only a row longer than a chunk may be is cut in itself.
//! Where the bytes come from, and in what pieces, makes no difference.

use super::Secrets;
use pgkeep_format::id::ChunkId;
use pgkeep_format::stream::{ChunkReference, Ending};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// A chunk is not cut before it has this many bytes.
const CUT_MIN: usize = 256 << 10;
/// Cuts come, on average, after about this many bytes.
const CUT_AVERAGE: usize = 1 << 20;
/// A chunk never has more bytes than this.
pub const CUT_MAX: usize = 8 << 20;

/// Bytes of a long row that are hashed.
const SAMPLE_LEN: usize = 8 + 3 * 16;

/// A run of rows on its way to a frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunk {
    /// The rows.
    pub plain: Vec<u8>,
    /// How many rows end in it.
    pub rows: u64,
    /// Whether its last row goes on in the next chunk.
    pub row_continues: bool,
    /// What tells which row it ends with, where it was cut out of a run.
    pub ending: Ending,
}

impl Chunk {
    /// The reference to all of it under its name.
    #[must_use]
    pub fn reference(&self, id: ChunkId) -> ChunkReference {
        let Self { row_continues, ending, .. } = *self;
        ChunkReference { row_continues, ending, ..ChunkReference::whole(id) }
    }
}

/// Cuts one run of rows.
#[derive(Debug)]
pub struct Cutter {
    hasher: SipHasher13,
    buffer: Vec<u8>,
    /// Where the row that is not complete yet begins in the buffer.
    row_start: usize,
    /// Bytes of the row before it, as far as they are in the buffer.
    last_row_len: usize,
    rows: u64,
}

impl Cutter {
    /// Begins a run.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&secrets.cut[..16]);
        Self {
            hasher: SipHasher13::new_with_key(&key),
            buffer: Vec::new(),
            row_start: 0,
            last_row_len: 0,
            rows: 0,
        }
    }

    /// Takes a row.
    pub fn push(&mut self, row: &[u8], mut emit: impl FnMut(Chunk)) {
        // In pieces: all that is left of a long one would be moved with each chunk.
        for piece in row.chunks(CUT_MAX) {
            self.buffer.extend_from_slice(piece);
            self.took(&[], &mut emit);
        }
        self.took(&[self.buffer.len()], emit);
    }

    /// Where rows are appended as they come, so that they are copied once; [`Cutter::took`] is told
    /// of them. What is there already must stay.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Hears what was appended to the buffer: `ends` says where rows end in it, and what follows the
    /// last end is the beginning of a row. Gives each chunk that is complete to `emit`.
    pub fn took(&mut self, ends: &[usize], mut emit: impl FnMut(Chunk)) {
        let mut gone = 0;
        for end in ends {
            gone += self.end_row(end - gone, &mut emit);
        }
        // Never more than a chunk and what is appended at once is held, whatever the length of a row.
        while self.buffer.len() > CUT_MAX {
            self.make_room(&mut emit);
        }
    }

    /// Ends the row that is in the buffer up to `end`; returns how many bytes went with chunks.
    #[inline]
    fn end_row(&mut self, end: usize, emit: &mut impl FnMut(Chunk)) -> usize {
        let mut gone = 0;
        while end - gone > CUT_MAX {
            gone += self.make_room(emit);
        }
        let end = end - gone;
        let row_start = std::mem::replace(&mut self.row_start, end);
        self.rows += 1;
        self.last_row_len = end - row_start;
        if end >= CUT_MIN && self.is_cut(&self.buffer[row_start..end]) {
            emit(self.cut_whole_rows());
            gone += end;
        }
        gone
    }

    /// Cuts before the row that is not complete, or in it where nothing is before it; returns how many
    /// bytes went.
    #[cold]
    fn make_room(&mut self, emit: &mut impl FnMut(Chunk)) -> usize {
        let chunk = if self.row_start > 0 { self.cut_whole_rows() } else { self.cut_inside_row() };
        let gone = chunk.plain.len();
        emit(chunk);
        gone
    }

    /// Ends the run; gives what is left, nothing where nothing is.
    #[must_use]
    pub fn finish(self) -> Option<Chunk> {
        let ending = self.ending();
        (!self.buffer.is_empty() || self.rows > 0).then_some(Chunk {
            plain: self.buffer,
            rows: self.rows,
            row_continues: false,
            ending,
        })
    }

    /// Whether a cut follows a row. The chance grows with the row's length, so that chunks come out
    /// alike in bytes.
    fn is_cut(&self, row: &[u8]) -> bool {
        // The hash is less than the quotient of the two, without the division.
        let chance = u128::from(u64::MAX) * row.len() as u128;
        (u128::from(self.hash(row)) + 1) * (CUT_AVERAGE - CUT_MIN) as u128 <= chance
    }

    fn hash(&self, row: &[u8]) -> u64 {
        let mut hasher = self.hasher;
        match sample(row) {
            Some(sample) => hasher.write(&sample),
            None => hasher.write(row),
        }
        hasher.finish()
    }

    /// Of the last row that ends in the buffer.
    fn ending(&self) -> Ending {
        let last = self.buffer.get(self.row_start - self.last_row_len..self.row_start);
        last.filter(|row| !row.is_empty())
            .map_or(Ending::default(), |row| Ending::of(self.hash(row)))
    }

    fn cut_whole_rows(&mut self) -> Chunk {
        let ending = self.ending();
        let plain = self.split(self.row_start);
        (self.row_start, self.last_row_len) = (0, 0);
        Chunk { plain, rows: std::mem::take(&mut self.rows), row_continues: false, ending }
    }

    fn cut_inside_row(&mut self) -> Chunk {
        Chunk { plain: self.split(CUT_MAX), row_continues: true, ..Chunk::default() }
    }

    /// Takes the first bytes out of the buffer.
    fn split(&mut self, at: usize) -> Vec<u8> {
        // Where one chunk was cut another is likely to follow. Room that it does not use was never
        // touched and costs nothing.
        let mut rest = Vec::with_capacity(2 * CUT_AVERAGE);
        rest.extend_from_slice(&self.buffer[at..]);
        self.buffer.truncate(at);
        std::mem::replace(&mut self.buffer, rest)
    }
}

/// Of a long row its length, beginning, middle and end: what tells it from others costs no more than
/// with a short one. Rows that differ elsewhere only are cut alike.
fn sample(row: &[u8]) -> Option<[u8; SAMPLE_LEN]> {
    const PIECE: usize = 16;
    if row.len() <= SAMPLE_LEN {
        return None;
    }
    let mut sample = [0; SAMPLE_LEN];
    let (len, pieces) = sample.split_at_mut(8);
    len.copy_from_slice(&(row.len() as u64).to_le_bytes());
    let starts = [0, row.len() / 2 - PIECE / 2, row.len() - PIECE];
    for (piece, start) in pieces.chunks_exact_mut(PIECE).zip(starts) {
        piece.copy_from_slice(&row[start..start + PIECE]);
    }
    Some(sample)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secrets() -> Secrets {
        Secrets { naming: [1; 32], cut: [2; 32] }
    }

    fn cut(rows: &[Vec<u8>], piece_len: usize) -> Vec<Chunk> {
        let mut cutter = Cutter::new(&secrets());
        let mut chunks = Vec::new();
        for row in rows {
            let pieces: Vec<&[u8]> =
                if row.is_empty() { vec![&[]] } else { row.chunks(piece_len).collect() };
            for (at, piece) in pieces.iter().enumerate() {
                cutter.buffer().extend_from_slice(piece);
                let end = cutter.buffer().len();
                let ends = if at + 1 == pieces.len() { &[end][..] } else { &[] };
                cutter.took(ends, |chunk| chunks.push(chunk));
            }
        }
        chunks.extend(cutter.finish());
        chunks
    }

    /// The same rows as they come out of reads of `run_len` bytes.
    fn cut_in_runs(rows: &[Vec<u8>], run_len: usize) -> Vec<Chunk> {
        let mut ends = Vec::new();
        let mut at = 0;
        for row in rows {
            at += row.len();
            ends.push(at);
        }
        let mut cutter = Cutter::new(&secrets());
        let mut chunks = Vec::new();
        let (bytes, mut start, mut used) = (rows.concat(), 0, 0);
        while start < bytes.len() || used < ends.len() {
            let end = bytes.len().min(start + run_len);
            let ended = ends[used..].partition_point(|row| *row <= end);
            let held = cutter.buffer().len();
            let in_run: Vec<usize> =
                ends[used..used + ended].iter().map(|end| held + end - start).collect();
            cutter.buffer().extend_from_slice(&bytes[start..end]);
            cutter.took(&in_run, |chunk| chunks.push(chunk));
            (start, used) = (end, used + ended);
        }
        chunks.extend(cutter.finish());
        chunks
    }

    fn numbered_rows(from: u64, to: u64) -> Vec<Vec<u8>> {
        (from..to)
            .map(|n| format!("{n}\tsome text that fills the row {}\n", n * 7919).into_bytes())
            .collect()
    }

    #[test]
    fn a_row_inserted_early_moves_only_the_first_cuts() {
        let rows = numbered_rows(0, 200_000);
        let mut changed = rows.clone();
        changed.insert(10, b"new\n".to_vec());
        let (before, after) = (cut(&rows, 100), cut(&changed, 100));
        assert!(before.len() > 5, "{} chunks", before.len());
        let same = after.iter().filter(|chunk| before.contains(chunk)).count();
        assert!(same + 2 >= after.len(), "{same} of {} are the same", after.len());
    }

    #[test]
    fn runs_of_rows_are_cut_as_rows_one_by_one() {
        let rows = numbered_rows(0, 100_000);
        let one_by_one = cut(&rows, 1000);
        assert!(one_by_one.len() > 3);
        for run_len in [7, 4096, 262_144, 1 << 23] {
            assert!(cut_in_runs(&rows, run_len) == one_by_one, "in runs of {run_len}");
        }
    }

    #[test]
    fn chunks_are_about_a_mebibyte() {
        let chunks = cut(&numbered_rows(0, 1_000_000), 1000);
        let bytes: usize = chunks.iter().map(|chunk| chunk.plain.len()).sum();
        let average = bytes / chunks.len();
        assert!((700_000..1_500_000).contains(&average), "{average}");
    }

    #[test]
    fn a_row_longer_than_a_chunk_is_cut_in_itself_and_rows_around_it_are_whole() {
        let rows = vec![b"a\n".to_vec(), vec![b'x'; 2 * CUT_MAX + 5], b"b\n".to_vec()];
        let chunks = cut(&rows, 1 << 20);
        let shape: Vec<_> =
            chunks.iter().map(|c| (c.plain.len(), c.rows, c.row_continues)).collect();
        let (head, tail) = shape.split_at(3);
        assert_eq!(head, [(2, 1, false), (CUT_MAX, 0, true), (CUT_MAX, 0, true)]);
        assert_eq!(tail.iter().map(|(len, ..)| len).sum::<usize>(), 5 + 2);
        assert_eq!(tail.iter().map(|(_, rows, _)| rows).sum::<u64>(), 2);
        assert!(tail.iter().all(|(_, _, continues)| !continues));
    }

    #[test]
    fn rows_pushed_whole_are_cut_as_rows_that_come_in_pieces() {
        let mut rows = numbered_rows(0, 40_000);
        rows.insert(20_000, vec![b'x'; 2 * CUT_MAX + 5]);
        let (mut cutter, mut chunks) = (Cutter::new(&secrets()), Vec::new());
        rows.iter().for_each(|row| cutter.push(row, |chunk| chunks.push(chunk)));
        chunks.extend(cutter.finish());
        assert!(chunks == cut(&rows, 1000));
    }

    proptest! {
        #[test]
        fn chunks_hold_all_rows_in_order_whatever_the_pieces(
            lengths in prop::collection::vec(prop_oneof![0usize..200, 100_000usize..900_000, Just(CUT_MAX), Just(CUT_MAX + 1)], 0..12),
            piece_len in 1usize..2_000_000,
            seed: u8,
        ) {
            let rows: Vec<Vec<u8>> = lengths.iter().enumerate()
                .map(|(n, len)| (0..*len).map(|at| at.to_le_bytes()[0] ^ seed ^ n.to_le_bytes()[0]).collect())
                .collect();
            let chunks = cut(&rows, piece_len.max(1000));
            prop_assert!(cut_in_runs(&rows, piece_len.max(1000)) == chunks, "runs are cut otherwise");
            let joined: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.plain.clone()).collect();
            prop_assert_eq!(&joined, &rows.concat());
            prop_assert_eq!(chunks.iter().map(|chunk| chunk.rows).sum::<u64>(), rows.len() as u64);
            prop_assert!(chunks.iter().all(|chunk| chunk.plain.len() <= CUT_MAX));
            prop_assert_eq!(chunks, cut(&rows, 1 << 20), "pieces make no difference");
        }
    }
}
