//! The rows of one part of a table beside those that the backup before has of it.
//!
//! ```text
//! chunk that is not known -> which chunks of the backup before have its rows?
//!     most of its rows are there   those that are not are gathered; the rest is referred to
//!     they are not                 it is stored
//! chunk of the backup before, passed by -> a reference without the rows that are no more
//! ```
//!
//! Rows come in the order of the table, as they did before, so the chunk that is wanted is the one
//! that ends with the same row, or the next one. A chunk of gathered rows is referred to where the first
//! of them was met; it is held from there on, as long as its rows are found. With each backup there are
//! more of them, and when too many are needed at once all their rows are gathered anew, in the order of
//! the table, and few are again.

use super::held::{Held, Outcome};
use super::{EarlierTable, RowHash, warn};
use crate::repository::ChunkWriter;
use crate::seal::Chunk;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::id::ChunkId;
use pgkeep_format::rows::Rows;
use pgkeep_format::stream::ChunkReference;
use std::ops::Range;
use std::sync::Arc;

/// Less is stored again rather than looked for.
const CHUNK_LEN_MIN: usize = 64 << 10;
/// Bytes of a chunk of gathered rows, about.
const GATHERED_LEN: usize = 1 << 20;
/// Of a chunk at least so many bytes are in rows that are found, in hundredths.
const FOUND_MIN: usize = 75;
/// Chunks of the backup before, at most, that one new chunk may have come from.
const CHUNKS_MAX: usize = 3;
/// Chunks of gathered rows that are held at most, and bytes of them.
const GATHERED_MAX: usize = 8;
const GATHERED_BYTES_MAX: usize = 8 << 20;
/// One of them is needed no more when no row of it was found in so many chunks.
const IDLE: u64 = 8;
/// How far before a chunk that was found out of turn chunks of gathered rows are looked for.
const BEFORE: usize = 8;
/// After so many chunks in vain, only the one that ends with the same row is looked at.
const MISSES_MAX: u32 = 4;

/// What a part's chunks come to.
#[derive(Debug)]
pub(in crate::backup) enum Out {
    /// The next chunk, to be stored, and its name.
    Chunk(ChunkId, Chunk),
    /// The next reference, to rows that the repository has.
    Reference(ChunkReference),
    /// A chunk of gathered rows, to be stored. Its reference goes before that of the chunk of this
    /// number, gathered ones not counted.
    Gathered(usize, Chunk),
    /// The reference of one that is there, likewise.
    GatheredBefore(usize, ChunkReference),
}

/// One part of a table, as its chunks come.
pub(in crate::backup) struct EarlierPart {
    table: Arc<EarlierTable>,
    writer: ChunkWriter,
    hash: RowHash,
    /// The place of the reference that should have the next rows; absent where nothing is known.
    at: Option<usize>,
    /// References before it were looked through for gathered rows.
    looked_through: usize,
    held: Vec<Held>,
    /// Chunks that were looked at.
    taken: u64,
    misses: u32,
    /// Whether rows that were gathered before are gathered anew.
    gathers_anew: bool,
    gathered: Chunk,
    /// Where the first of the gathered rows was met.
    gathered_at: usize,
    /// Chunks and references that went out, gathered ones not counted.
    passed: usize,
    /// Of chunks whose rows were found or gathered, what is not yet in a reference or a chunk that
    /// went out: rows, and their bytes.
    owed: (u64, u64),
    out: Vec<Out>,
}

impl EarlierPart {
    /// Of a table's part with this number, of which `passed` chunks went by, `last` being the last one.
    pub(in crate::backup) fn new(
        table: Arc<EarlierTable>,
        writer: ChunkWriter,
        part: usize,
        passed: usize,
        last: Option<&ChunkReference>,
    ) -> Self {
        let at = match last {
            Some(last) => table.place(last).map(|at| at + 1),
            None => (part == 0 && passed == 0).then_some(0),
        };
        Self {
            table,
            writer,
            hash: RowHash::default(),
            at,
            looked_through: at.unwrap_or(0),
            held: Vec::new(),
            taken: 0,
            misses: 0,
            gathers_anew: false,
            gathered: Chunk::default(),
            gathered_at: 0,
            passed,
            owed: (0, 0),
            out: Vec::new(),
        }
    }

    /// Whether rows of a chunk are looked for at all. One that begins within a row must not come here.
    pub(in crate::backup) fn looks_at(chunk: &Chunk) -> bool {
        chunk.plain.len() >= CHUNK_LEN_MIN
    }

    /// Notes that the part goes on with a chunk that the repository has.
    pub(in crate::backup) fn pass(&mut self, reference: ChunkReference) -> Vec<Out> {
        if let Some(at) = self.table.place(&reference) {
            self.move_behind(at);
        }
        self.emit(Out::Reference(reference));
        std::mem::take(&mut self.out)
    }

    /// Takes a chunk of this name that the repository does not have; gives what is settled.
    pub(in crate::backup) async fn take(&mut self, id: ChunkId, chunk: Chunk) -> Vec<Out> {
        if !Self::looks_at(&chunk) {
            self.emit(Out::Chunk(id, chunk));
            return std::mem::take(&mut self.out);
        }
        self.taken += 1;
        let end = self.table.at_ending(chunk.ending, self.at);
        self.hold(end, chunk.plain.len()).await;
        match self.find(&chunk) {
            Some(found) => {
                self.misses = 0;
                self.keep(&chunk, found);
                match end {
                    Some(end) => self.move_behind(end),
                    None => self.move_to_last_found(),
                }
            }
            // Perhaps another chunk ends alike: the place stays what it was.
            None => {
                self.misses += 1;
                self.held.retain(|held| held.is_gathered() || held.used_bytes() > 0);
                self.emit(Out::Chunk(id, chunk));
            }
        }
        std::mem::take(&mut self.out)
    }

    /// Ends the part; gives all that is left of it.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when what went out has not as many rows and bytes as came in.
    pub(in crate::backup) fn finish(mut self) -> Result<Vec<Out>> {
        self.settle_where(|_| true);
        self.flush();
        match self.owed {
            (0, 0) => Ok(self.out),
            _ => Err(Error::new(ErrorKind::Internal, "rows were not all found again")),
        }
    }

    /// Reads the chunks that may have the next `len` bytes of rows, `end` being the one that ends with
    /// the same row.
    async fn hold(&mut self, end: Option<usize>, len: usize) {
        let next = self.at.map(|at| self.table.chunk_from(at));
        match (end, next) {
            (Some(end), Some(next)) if self.misses < MISSES_MAX => {
                self.hold_between(next.min(end), end).await;
            }
            (Some(end), _) => self.hold_between(end, end).await,
            (None, Some(next)) if self.misses < MISSES_MAX => {
                let (mut at, mut left) = (next, 0);
                for _ in 0..CHUNKS_MAX {
                    self.hold_between(at, at).await;
                    let held = self.held.iter().find(|held| held.at == at);
                    left += held.map_or(0, |held| held.len() - held.used_bytes());
                    at = self.table.chunk_from(at + 1);
                    if left >= len {
                        break;
                    }
                }
            }
            _ => {}
        }
    }

    /// Reads the chunks from one place to another, and those of gathered rows before them.
    async fn hold_between(&mut self, first: usize, last: usize) {
        let from = match self.at {
            Some(_) => self.looked_through.max(first.saturating_sub(BEFORE)),
            None => last.saturating_sub(BEFORE),
        };
        for at in from..=last {
            if self.table.is_gathered(at) {
                self.hold_gathered(at).await;
            }
        }
        self.looked_through = self.looked_through.max(last + 1);
        let chunks = (first..=last).rev().filter(|at| !self.table.is_gathered(*at));
        let chunks: Vec<usize> = chunks.take(CHUNKS_MAX).collect();
        for at in chunks.into_iter().rev() {
            self.read(at).await;
        }
    }

    /// Reads a chunk of gathered rows; one that is needed no more makes room for it.
    async fn hold_gathered(&mut self, at: usize) {
        let held = self.held.iter().filter(|held| held.is_gathered());
        let (count, bytes) = held.fold((0, 0), |(count, len), held| (count + 1, len + held.len()));
        if count >= GATHERED_MAX || bytes >= GATHERED_BYTES_MAX {
            let idle = self.taken.saturating_sub(IDLE);
            self.settle_where(|held| held.is_gathered() && held.found_in < idle);
            if self.held.iter().filter(|held| held.is_gathered()).count() == count {
                self.gathers_anew = true;
                self.settle_where(Held::is_gathered);
            }
        }
        if !self.gathers_anew {
            self.read(at).await;
        }
    }

    /// Reads the chunk at a place of the backup before, if it may be relied on.
    async fn read(&mut self, at: usize) {
        let Some(reference) = self.table.whole_rows(at) else { return };
        if self.held.iter().any(|held| held.at == at) || !self.writer.relies_on(&reference.id) {
            return;
        }
        if let Some(plain) = self.table.read(reference).await {
            let held = Held::new(at, reference, plain, self.table.encoding, &self.hash);
            self.held.extend(held.inspect_err(warn).map(|mut held| {
                held.place = self.passed;
                // One of gathered rows gets its time before it is idle.
                held.found_in = if held.is_gathered() { self.taken } else { 0 };
                held
            }));
        }
    }

    /// The rows of a chunk, each with whether it was found; absent, and nothing taken, where too few
    /// were.
    fn find(&mut self, chunk: &Chunk) -> Option<Vec<(Range<usize>, bool)>> {
        let mut taken: Vec<(usize, usize)> = Vec::new();
        let (mut found, mut found_bytes, mut last) = (Vec::new(), 0, 0);
        for range in Rows::new(self.table.encoding, &chunk.plain) {
            let Ok(range) = range else {
                found.clear();
                break;
            };
            let row = &chunk.plain[range.clone()];
            let place = find_row(&mut self.held, last, row, &self.hash);
            if let Some((held, at)) = place {
                taken.push((held, at));
                found_bytes += row.len();
                last = held;
            }
            found.push((range, place.is_some()));
        }
        if !found.is_empty() && found_bytes * 100 >= chunk.plain.len() * FOUND_MIN {
            for (held, _) in taken {
                self.held[held].found_in = self.taken;
            }
            return Some(found);
        }
        for (held, row) in taken {
            self.held[held].give_back(row);
        }
        None
    }

    /// Gathers the rows of a chunk that were not found.
    fn keep(&mut self, chunk: &Chunk, found: Vec<(Range<usize>, bool)>) {
        self.owed.0 += found.len() as u64;
        self.owed.1 += chunk.plain.len() as u64;
        let (mut rows, mut bytes) = (0, 0);
        for (range, is_found) in found {
            if is_found {
                (rows, bytes) = (rows + 1, bytes + range.len() as u64);
            } else {
                self.gather(&chunk.plain[range]);
            }
        }
        self.writer.passed(rows, bytes);
    }

    /// Settles the chunks up to a place that the table has passed.
    fn move_behind(&mut self, at: usize) {
        self.at = Some(at + 1);
        self.settle_where(|held| held.at <= at && !held.is_gathered());
    }

    /// Of the chunks that the last new one came from all but the last were passed, wherever it ended.
    fn move_to_last_found(&mut self) {
        let is_found = |held: &&Held| !held.is_gathered() && held.found_in == self.taken;
        if let Some(at) = self.held.iter().filter(is_found).map(|held| held.at).max() {
            self.at = Some(at);
            self.settle_where(|held| held.at < at && !held.is_gathered());
        }
    }

    fn settle_where(&mut self, is_settled: impl Fn(&Held) -> bool) {
        let (mut settled, held): (Vec<Held>, _) =
            std::mem::take(&mut self.held).into_iter().partition(is_settled);
        self.held = held;
        settled.sort_by_key(|held| held.at);
        for held in settled {
            match held.outcome() {
                None => {}
                Some(Outcome::Reference(reference)) => {
                    self.pay(held.rows_left(&reference), held.used_bytes() as u64);
                    self.emit(match held.is_gathered() {
                        true => Out::GatheredBefore(held.place, reference),
                        false => Out::Reference(reference),
                    });
                }
                Some(Outcome::Rows(rows)) => rows.into_iter().for_each(|row| self.gather(row)),
            }
        }
    }

    fn gather(&mut self, row: &[u8]) {
        if self.gathered.plain.len() + row.len() > GATHERED_LEN {
            self.flush();
        }
        if self.gathered.rows == 0 {
            self.gathered_at = self.passed;
        }
        self.gathered.plain.extend_from_slice(row);
        self.gathered.rows += 1;
    }

    fn flush(&mut self) {
        let gathered = std::mem::take(&mut self.gathered);
        if gathered.rows > 0 {
            self.pay(gathered.rows, gathered.plain.len() as u64);
            self.emit(Out::Gathered(self.gathered_at, gathered));
        }
    }

    /// Notes that rows went out. More than are owed leave a number that is not 0.
    fn pay(&mut self, rows: u64, bytes: u64) {
        self.owed.0 = self.owed.0.wrapping_sub(rows);
        self.owed.1 = self.owed.1.wrapping_sub(bytes);
    }

    fn emit(&mut self, out: Out) {
        if matches!(out, Out::Chunk(..) | Out::Reference(_)) {
            self.passed += 1;
        }
        self.out.push(out);
    }
}

/// Takes a row, from the chunk that had the last one if it can be: which chunk, and which of its rows.
fn find_row(held: &mut [Held], last: usize, row: &[u8], hash: &RowHash) -> Option<(usize, usize)> {
    if let Some(at) = held.get_mut(last).and_then(|held| held.take_next(row)) {
        return Some((last, at));
    }
    let hash = hash.of(row);
    let mut all = held.iter_mut().enumerate();
    all.find_map(|(number, held)| Some((number, held.take_any(row, hash)?)))
}
