//! `COPY … TO STDOUT`: rows in runs, borrowed from the one buffer they were read into.

use super::rows::RowReader;
use super::{State, WireSession, answer, encoding};
use crate::postgres::ServerError;
use crate::{Error, Result};
use pgkeep_format::entry::RowEncoding;
use postgres_protocol::message::backend::Message;
use std::ops::Range;

/// A COPY that sends us rows.
///
/// Dropped before its end, it leaves the session of no more use.
pub struct CopyOut<'a> {
    session: &'a mut WireSession,
    reader: RowReader,
    encoding: RowEncoding,
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
    /// The bytes; of binary rows without file header and trailer.
    pub bytes: &'a [u8],
    /// Where rows end, as lengths from the start of `bytes`, ascending.
    pub row_ends: &'a [usize],
}

impl<'a> CopyOut<'a> {
    pub(super) fn new(session: &'a mut WireSession, format: u8) -> Result<Self> {
        let encoding = encoding(format).ok_or_else(|| session.out_of_step())?;
        let reader = RowReader::new(encoding);
        Ok(Self { session, reader, encoding, ends: Vec::new(), phase: Phase::Rows })
    }

    /// How the rows are written.
    #[must_use]
    pub fn encoding(&self) -> RowEncoding {
        self.encoding
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

    /// The number of rows, once [`CopyOut::next`] has returned none.
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
        match answer(message) {
            None => Ok(Phase::Rows),
            Some(Message::CopyDone) => self.finish().await,
            Some(Message::ErrorResponse(body)) => {
                Err(self.session.fail(ServerError::from_fields(body.fields())).await)
            }
            Some(_) => Err(self.session.out_of_step()),
        }
    }

    async fn finish(&mut self) -> Result<Phase> {
        let reported = self.session.end_of_copy().await?;
        self.reader.finish(reported).map(|rows| Phase::Over(Some(rows)))
    }

    /// What came is no COPY: nothing that follows can be understood.
    fn lost(&mut self, error: Error) -> Error {
        self.session.state = State::Lost;
        error
    }
}
