//! Which rows damage takes: told from the references of a stream and the chunks that could be read.
//!
//! Rows have no numbers in a backup. A chunk's are known by counting the rows that end in the
//! chunks before it, and, from the other side, in those behind it.

use super::whole_rows::Whole;
use pgkeep_format::stream::ChunkReference;

/// What is known of a chunk of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkState {
    /// It was read, and so many rows end in it.
    Good(u64),
    /// It was not read, or its rows were not counted.
    Uncounted,
    /// It cannot be read.
    Lost,
}

/// Chunks of a stream that cannot be read, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostSpan {
    /// The first one, from 1.
    pub first_chunk: u64,
    /// The last one.
    pub last_chunk: u64,
    /// How many the stream has.
    pub chunks: u64,
    /// The rows that are in them, whole or in part; absent where nothing is known of rows.
    pub rows: Option<RowSpan>,
}

/// Rows of a table, in the order in which they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowSpan {
    /// The first one, from 1.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// Whether it is these rows; otherwise it is some of them and no others, as rows of other
    /// chunks could not be counted.
    pub exact: bool,
}

/// Finds what is lost of a stream. `states` has what is known of each of its chunks, `rows` how many
/// rows it has where it has rows.
#[must_use]
pub fn lost_spans(
    references: &[ChunkReference],
    states: &[ChunkState],
    rows: Option<u64>,
) -> Vec<LostSpan> {
    let mut spans = Vec::new();
    let total = count(states);
    let mut before = Counted::default();
    let mut at = 0;
    while at < states.len() {
        if states[at] != ChunkState::Lost {
            before.add(states[at]);
            at += 1;
            continue;
        }
        let start = at;
        while states.get(at) == Some(&ChunkState::Lost) {
            at += 1;
        }
        let continues = references.get(at - 1).is_some_and(|last| last.row_continues);
        let behind = Counted {
            rows: total.rows - before.rows,
            unknown: total.unknown - before.unknown - (at - start) as u64,
        };
        spans.push(LostSpan {
            first_chunk: start as u64 + 1,
            last_chunk: at as u64,
            chunks: states.len() as u64,
            rows: rows.and_then(|rows| span(rows, before, behind, continues)),
        });
        before.unknown += (at - start) as u64;
    }
    spans
}

/// Rows of a table that could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRows {
    /// The table, `schema.table`.
    pub table: String,
    /// How many rows; those count too that are whole in no chunk that can be read.
    pub rows: u64,
    /// Bytes of the chunks that cannot be read, plain.
    pub bytes: u64,
    /// Where they were.
    pub spans: Vec<LostSpan>,
}

/// What was read of a stream of rows so far, by who goes on without what cannot be read.
#[derive(Debug)]
pub struct RowsSeen {
    references: Vec<ChunkReference>,
    /// Absent of what was not come to yet.
    states: Vec<Option<ChunkState>>,
    /// Rows and bytes that the backup says there are.
    rows: u64,
    bytes: u64,
    /// Rows that were whole, and bytes of chunks that could be read.
    kept: u64,
    read: u64,
}

impl RowsSeen {
    /// Nothing so far, of a stream that has so many `rows` and plain `bytes`.
    #[must_use]
    pub fn new(references: &[ChunkReference], rows: u64, bytes: u64) -> Self {
        let states = vec![None; references.len()];
        Self { references: references.to_vec(), states, rows, bytes, kept: 0, read: 0 }
    }

    /// Notes a chunk that was read, by its position from 0, its plain length and what is whole of
    /// its rows. To do so again changes nothing.
    pub fn read(&mut self, at: usize, plain_len: usize, whole: &Whole) {
        let Some(state @ None) = self.states.get_mut(at) else { return };
        *state = Some(whole.rows.map_or(ChunkState::Uncounted, ChunkState::Good));
        self.kept += whole.kept;
        self.read += plain_len as u64;
    }

    /// Notes a chunk that cannot be read; whether that is new.
    pub fn lost(&mut self, at: usize) -> bool {
        match self.states.get_mut(at) {
            Some(state @ None) => {
                *state = Some(ChunkState::Lost);
                true
            }
            _ => false,
        }
    }

    /// Whether a chunk could not be read.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.states.contains(&Some(ChunkState::Lost))
    }

    /// What is missing of the rows of `table`, where anything is.
    #[must_use]
    pub fn missing(&self, table: String) -> Option<MissingRows> {
        if !self.is_damaged() {
            return None;
        }
        let known = |state: &Option<ChunkState>| state.unwrap_or(ChunkState::Uncounted);
        let states: Vec<ChunkState> = self.states.iter().map(known).collect();
        Some(MissingRows {
            table,
            rows: self.rows.saturating_sub(self.kept),
            bytes: self.bytes.saturating_sub(self.read),
            spans: lost_spans(&self.references, &states, Some(self.rows)),
        })
    }
}

/// Rows that end in some chunks, and how many of the chunks say nothing of rows.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    rows: u64,
    unknown: u64,
}

impl Counted {
    fn add(&mut self, state: ChunkState) {
        match state {
            ChunkState::Good(rows) => self.rows += rows,
            ChunkState::Uncounted | ChunkState::Lost => self.unknown += 1,
        }
    }
}

fn count(states: &[ChunkState]) -> Counted {
    let mut counted = Counted::default();
    states.iter().for_each(|state| counted.add(*state));
    counted
}

fn span(rows: u64, before: Counted, behind: Counted, continues: bool) -> Option<RowSpan> {
    let first = before.rows + 1;
    // The first row that ends behind began within.
    let last = rows.checked_sub(behind.rows)? + u64::from(continues && behind.rows > 0);
    let exact = before.unknown == 0 && behind.unknown == 0;
    (first <= last).then_some(RowSpan { first, last, exact })
}

#[cfg(test)]
mod tests {
    use super::ChunkState::{Good, Lost, Uncounted};
    use super::*;
    use pgkeep_format::id::ChunkId;

    fn spans(chunks: &[(ChunkState, bool)], rows: u64) -> Vec<(u64, u64, u64, u64, bool)> {
        let reference = |row_continues| ChunkReference {
            row_continues,
            ..ChunkReference::whole(ChunkId([1; 32]))
        };
        let references: Vec<_> = chunks.iter().map(|(_, it)| reference(*it)).collect();
        let states: Vec<_> = chunks.iter().map(|(state, _)| *state).collect();
        let spans = lost_spans(&references, &states, Some(rows));
        let flat = spans.into_iter().map(|span| {
            let rows = span.rows.unwrap();
            (span.first_chunk, span.last_chunk, rows.first, rows.last, rows.exact)
        });
        flat.collect()
    }

    #[test]
    fn rows_of_one_lost_span_are_told_exactly() {
        let good = |rows| (Good(rows), false);
        let lost = (Lost, false);
        assert_eq!(spans(&[good(10), lost, good(5)], 22), [(2, 2, 11, 17, true)]);
        assert_eq!(spans(&[lost, lost, good(5)], 22), [(1, 2, 1, 17, true)]);
        assert_eq!(spans(&[good(3), lost], 4), [(2, 2, 4, 4, true)]);
        assert_eq!(spans(&[good(3)], 3), []);
    }

    #[test]
    fn a_row_that_is_lost_in_part_is_lost() {
        // Row 3 begins in the first chunk, goes on in the lost one and ends in the third.
        assert_eq!(
            spans(&[(Good(2), true), (Lost, true), (Good(2), false)], 4),
            [(2, 2, 3, 3, true)]
        );
    }

    #[test]
    fn bounds_are_told_where_rows_of_other_chunks_are_not_known() {
        let good = |rows| (Good(rows), false);
        let lost = (Lost, false);
        assert_eq!(
            spans(&[good(10), lost, good(5), lost, good(1)], 100),
            [(2, 2, 11, 94, false), (4, 4, 16, 99, false)]
        );
        assert_eq!(spans(&[(Uncounted, false), lost, good(1)], 100), [(2, 2, 1, 99, false)]);
    }
}
