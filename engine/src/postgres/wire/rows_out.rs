//! Rows that the server sends: in runs, borrowed from the one buffer they were read into.

use super::inbox::Carrier;
use super::rows::RowReader;
use super::{State, WireSession, answer, rows_of};
use crate::postgres::ServerError;
use crate::{Error, Result};
use postgres_protocol::message::backend::Message;
use std::ops::Range;

/// A `COPY … TO STDOUT` or a query in binary format that sends us rows.
///
/// Dropped before its end, it leaves the session of no more use.
pub struct RowsOut<'a> {
    session: &'a mut WireSession,
    reader: RowReader,
    carrier: Carrier,
    ends: Vec<usize>,
    phase: Phase,
}

enum Phase {
    /// Rows are coming.
    Rows,
    /// This came behind the rows handed out last.
    Message(Box<Message>),
    /// There is no more; with the number of rows when all went well.
    Over(Option<u64>),
}

/// Bytes of consecutive rows. A row that is longer than what was read at once goes on in
/// the next run: only positions in `row_ends` are ends of rows.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The bytes: lines of text, or tuples as binary COPY has them.
    pub bytes: &'a [u8],
    /// Where rows end, as lengths from the start of `bytes`, ascending.
    pub row_ends: &'a [usize],
}

impl<'a> RowsOut<'a> {
    pub(super) fn new(session: &'a mut WireSession, carrier: Carrier) -> Self {
        let reader = RowReader::new(carrier);
        Self { session, reader, carrier, ends: Vec::new(), phase: Phase::Rows }
    }

    /// The next rows; absent at the end. At most 256 KiB at a time, and never waits for more
    /// when something is there.
    ///
    /// # Errors
    /// As [`WireSession::execute`]; [`crate::ErrorKind::Connection`] also when the server's count of
    /// rows is not the number that came.
    pub async fn next(&mut self) -> Result<Option<Run<'_>>> {
        let range = loop {
            match std::mem::replace(&mut self.phase, Phase::Over(None)) {
                Phase::Over(rows) => {
                    self.phase = Phase::Over(rows);
                    return Ok(None);
                }
                // An error leaves it over.
                Phase::Message(message) => self.phase = self.message(*message).await?,
                Phase::Rows => {
                    let range = self.rows_or_message().await?;
                    if !range.is_empty() {
                        break range;
                    }
                }
            }
        };
        let bytes = &self.session.line.inbox.bytes()[range];
        Ok(Some(Run { bytes, row_ends: &self.ends }))
    }

    /// The number of rows, once [`RowsOut::next`] has returned none.
    #[must_use]
    pub fn rows(&self) -> Option<u64> {
        match self.phase {
            Phase::Over(rows) => rows,
            _ => None,
        }
    }

    /// Takes what is there, reading first when that is nothing. A message waits until the
    /// rows before it are used, because reading on moves them.
    async fn rows_or_message(&mut self) -> Result<Range<usize>> {
        let line = &mut self.session.line;
        let taken = match self.reader.take(&mut line.inbox, &mut self.ends) {
            Ok(taken) => taken,
            Err(error) => return Err(self.lost(error)),
        };
        self.phase = match taken.message {
            Some(message) => Phase::Message(Box::new(message)),
            None => {
                if taken.range.is_empty() {
                    let filled = line.fill_with_many().await;
                    filled.map_err(|error| self.lost(error))?;
                }
                Phase::Rows
            }
        };
        Ok(taken.range)
    }

    /// Takes a message that came between rows or after them.
    async fn message(&mut self, message: Message) -> Result<Phase> {
        let reported = match (answer(message), self.carrier) {
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
