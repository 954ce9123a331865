//! Rows that the server sends, appended to what the caller has of them.

use super::inbox::Carrier;
use super::rows::RowReader;
use super::{State, WireSession, answer, rows_of};
use crate::postgres::ServerError;
use crate::{Error, Result};
use postgres_protocol::message::backend::Message;

/// A `COPY … TO STDOUT` or a query in binary format that sends us rows.
///
/// Dropped before its end, it leaves the session of no more use.
pub struct RowsOut<'a> {
    session: &'a mut WireSession,
    reader: RowReader,
    ends: Vec<usize>,
    phase: Phase,
}

enum Phase {
    /// Rows are coming.
    Rows,
    /// There is no more; with the number of rows when all went well.
    Over(Option<u64>),
}

impl<'a> RowsOut<'a> {
    pub(super) fn new(session: &'a mut WireSession, carrier: Carrier) -> Self {
        let reader = RowReader::new(carrier);
        Self { session, reader, ends: Vec::new(), phase: Phase::Rows }
    }

    /// Appends the next rows to `rows`: lines of text, or tuples as binary COPY has them. Returns where
    /// rows end, as the length that `rows` had then; a row that is longer than what is read at once goes
    /// on with the next call. Absent at the end. At most 256 KiB at a time, and never waits for more when
    /// something is there.
    ///
    /// # Errors
    /// As [`WireSession::execute`]; [`crate::ErrorKind::Connection`] also when the server's count of
    /// rows is not the number that came. Rows may have been appended that are none then.
    pub async fn next(&mut self, rows: &mut Vec<u8>) -> Result<Option<&[usize]>> {
        let held = rows.len();
        while matches!(self.phase, Phase::Rows) {
            // An error leaves it over.
            self.phase = Phase::Over(None);
            self.phase = self.more(rows).await?;
            if rows.len() > held {
                return Ok(Some(&self.ends));
            }
        }
        Ok(None)
    }

    /// The number of rows, once [`RowsOut::next`] has returned none.
    #[must_use]
    pub fn rows(&self) -> Option<u64> {
        match self.phase {
            Phase::Over(rows) => rows,
            Phase::Rows => None,
        }
    }

    /// Takes what is there, reading first when that is nothing.
    async fn more(&mut self, rows: &mut Vec<u8>) -> Result<Phase> {
        let held = rows.len();
        let line = &mut self.session.line;
        let taken = self.reader.take(&mut line.inbox, rows, &mut self.ends);
        match taken.map_err(|error| self.lost(error))? {
            Some(message) => self.message(message).await,
            None => {
                if rows.len() == held {
                    let filled = self.session.line.fill_with_many().await;
                    filled.map_err(|error| self.lost(error))?;
                }
                Ok(Phase::Rows)
            }
        }
    }

    /// Takes a message that came between rows or after them.
    async fn message(&mut self, message: Message) -> Result<Phase> {
        let reported = match (answer(message), self.reader.carrier) {
            (None, _) => return Ok(Phase::Rows),
            // A COPY is told to be over before its command is.
            (Some(Message::CopyDone), Carrier::CopyData) => None,
            (Some(Message::CommandComplete(body)), Carrier::DataRow) => rows_of(&body),
            (Some(Message::ErrorResponse(body)), _) => {
                return Err(self.session.fail(ServerError::from_fields(body.fields())).await);
            }
            (Some(_), _) => return Err(self.session.out_of_step()),
        };
        let reported = self.session.end_of_rows(reported).await?;
        self.reader.finish(reported).map(|rows| Phase::Over(Some(rows)))
    }

    /// What came is no row: nothing that follows can be understood.
    fn lost(&mut self, error: Error) -> Error {
        self.session.state = State::Lost;
        error
    }
}
