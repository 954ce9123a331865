//! Rows out of the messages that carry them: pure, no sockets.
//!
//! The server sends one message for each row. Of a COPY in text it is a CopyData that ends with a
//! newline; of a query in binary format a DataRow, whose body is a tuple as binary COPY has them.
//! Rows of one reading go one behind the other to where the caller wants them.
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>,
//! <https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS>

use super::inbox::{Carrier, Inbox, Item};
use crate::{Error, ErrorKind, Result};
use postgres_protocol::message::backend::Message;

/// Takes rows out of an inbox.
pub(crate) struct RowReader {
    pub(super) carrier: Carrier,
    /// Whole rows taken out.
    rows: u64,
}

impl RowReader {
    /// Takes lines out of CopyData, tuples out of DataRow.
    pub(crate) fn new(carrier: Carrier) -> Self {
        Self { carrier, rows: 0 }
    }

    /// Appends all that is there to `rows`. `ends` is cleared and gets the end of each row that ended,
    /// as the length that `rows` had then. Returns the message that stopped it, if one did.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] when what came is no such row.
    pub(crate) fn take(
        &mut self,
        inbox: &mut Inbox,
        rows: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) -> Result<Option<Message>> {
        ends.clear();
        loop {
            match inbox.next(self.carrier)? {
                None => return Ok(None),
                Some(Item::Message(message)) => return Ok(Some(message)),
                Some(Item::Piece { range, begins, ends: row_ends }) => {
                    let piece = &inbox.bytes()[range];
                    self.check(piece, begins, row_ends)?;
                    rows.extend_from_slice(piece);
                    if row_ends {
                        self.rows += 1;
                        ends.push(rows.len());
                    }
                }
            }
        }
    }

    /// Looks at a piece of a row as far as it tells whether it is one.
    #[inline]
    fn check(&self, piece: &[u8], begins: bool, ends: bool) -> Result<()> {
        match (self.carrier, piece) {
            (Carrier::CopyData, [.., b'\n']) => Ok(()),
            (Carrier::CopyData, _) if ends => Err(no_row("a row without its end")),
            (Carrier::DataRow, [high, _, ..]) if !begins || *high < 0x80 => Ok(()),
            (Carrier::DataRow, _) if begins => {
                Err(no_row("a row with an impossible number of fields"))
            }
            _ => Ok(()),
        }
    }

    /// The number of whole rows, when the server says that there are no more and `reported`.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] when rows are missing or too many.
    pub(crate) fn finish(&self, reported: Option<u64>) -> Result<u64> {
        if reported != Some(self.rows) {
            let reported = reported.map_or("no number of".to_owned(), |rows| rows.to_string());
            let message = format!("server reported {reported} rows but sent {}", self.rows);
            return Err(Error::new(ErrorKind::Connection, message));
        }
        Ok(self.rows)
    }
}

fn no_row(what: &str) -> Error {
    Error::new(ErrorKind::Connection, format!("rows from the server make no sense: {what}"))
}
