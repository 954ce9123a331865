//! Rows of COPY out of the messages that carry them: pure, no sockets.
//!
//! The server sends one CopyData for each row. In text a row ends with a newline; in binary
//! the first message begins with the file header and a last one holds the trailer, and both
//! are taken off. Rows of one reading are moved together in place and handed out as one run.
//! <https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS>

use super::inbox::{FIRST_PIECE_BYTES, Inbox, Item};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::RowEncoding;
use postgres_protocol::message::backend::Message;
use std::ops::Range;

/// What binary COPY begins with; flags and the length of an extension follow.
pub(super) const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Signature, flags, length of the extension.
pub(super) const HEADER_BYTES: usize = 19;

/// Flags that a reader must know: none of them is in use any more.
const CRITICAL_FLAGS: u32 = 0xffff_0000;

/// Takes rows out of an inbox.
pub(crate) struct RowReader {
    expecting: Expecting,
    /// Whole rows taken out.
    rows: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expecting {
    TextRow,
    BinaryHeader,
    BinaryRow,
    /// The trailer came.
    Nothing,
}

/// Rows, or parts of one, that lie together.
pub(crate) struct Taken {
    /// Where their bytes are in [`Inbox::bytes`].
    pub(crate) range: Range<usize>,
    /// The message that stopped the taking, if one did.
    pub(crate) message: Option<Message>,
}

impl RowReader {
    pub(crate) fn new(encoding: RowEncoding) -> Self {
        let expecting = match encoding {
            RowEncoding::CopyBinary => Expecting::BinaryHeader,
            _ => Expecting::TextRow,
        };
        Self { expecting, rows: 0 }
    }

    /// Takes all that is there. `ends` is cleared and gets the end of each row that ended,
    /// counted from the start of the run.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] when what came is not COPY of this encoding.
    pub(crate) fn take(&mut self, inbox: &mut Inbox, ends: &mut Vec<usize>) -> Result<Taken> {
        ends.clear();
        let first = inbox.position();
        let mut last = first;
        let message = loop {
            match inbox.next()? {
                None => break None,
                Some(Item::Message(message)) => break Some(message),
                Some(Item::Piece { range, begins, ends: message_ends }) => {
                    let (skip, row) =
                        self.strip(&inbox.bytes()[range.clone()], begins, message_ends)?;
                    let kept = range.start + skip..range.end;
                    // Writing never overtakes reading: every message has a header to fall over.
                    let length = kept.len();
                    inbox.bytes_mut().copy_within(kept, last);
                    last += length;
                    if row && message_ends {
                        self.rows += 1;
                        ends.push(last - first);
                    }
                }
            }
        };
        Ok(Taken { range: first..last, message })
    }

    /// How many bytes at the front of a piece are no part of a row, and whether a row is
    /// what the piece belongs to.
    #[inline]
    fn strip(&mut self, piece: &[u8], begins: bool, ends: bool) -> Result<(usize, bool)> {
        if self.expecting == Expecting::TextRow {
            return match piece.last() {
                Some(b'\n') => Ok((0, true)),
                _ if ends => Err(not_copy("a row without its end")),
                _ => Ok((0, true)),
            };
        }
        if !begins {
            return Ok((0, true));
        }
        let skip = match self.expecting {
            Expecting::BinaryHeader => {
                self.expecting = Expecting::BinaryRow;
                binary_header(piece)?
            }
            Expecting::Nothing => return Err(not_copy("rows after the end")),
            _ => 0,
        };
        match piece[skip..] {
            [] if ends && skip > 0 => Ok((skip, false)),
            [0xff, 0xff] if ends => {
                self.expecting = Expecting::Nothing;
                Ok((skip + 2, false))
            }
            [high, _, ..] if high < 0x80 => Ok((skip, true)),
            _ => Err(not_copy("a row with an impossible number of fields")),
        }
    }

    /// The number of whole rows, when the server says that there are no more and `reported`.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] when rows are missing or too many.
    pub(crate) fn finish(&self, reported: Option<u64>) -> Result<u64> {
        if matches!(self.expecting, Expecting::BinaryHeader | Expecting::BinaryRow) {
            return Err(not_copy("no trailer"));
        }
        if reported != Some(self.rows) {
            let reported = reported.map_or("no number of".to_owned(), |rows| rows.to_string());
            let message = format!("server reported {reported} rows but sent {}", self.rows);
            return Err(Error::new(ErrorKind::Connection, message));
        }
        Ok(self.rows)
    }
}

/// Checks the header of binary COPY; returns its length.
fn binary_header(piece: &[u8]) -> Result<usize> {
    let header = piece
        .first_chunk::<HEADER_BYTES>()
        .filter(|header| header.starts_with(SIGNATURE))
        .ok_or_else(|| not_copy("no header of binary COPY"))?;
    let number = |at: usize| {
        header[at..at + 4].iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte))
    };
    if number(11) & CRITICAL_FLAGS != 0 {
        return Err(not_copy("a header with flags that are not known"));
    }
    // No server has ever sent an extension; one that does not leave room for a row's field
    // count in the shortest first piece is refused, so that it makes no difference in what
    // pieces a message comes.
    usize::try_from(number(15))
        .ok()
        .and_then(|extension| extension.checked_add(HEADER_BYTES))
        .filter(|length| *length <= piece.len() && *length + 2 <= FIRST_PIECE_BYTES)
        .ok_or_else(|| not_copy("a header with a long extension"))
}

fn not_copy(what: &str) -> Error {
    Error::new(ErrorKind::Connection, format!("COPY from the server makes no sense: {what}"))
}
