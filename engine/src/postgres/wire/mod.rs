//! A session for bytes in bulk: our own plain client of the protocol, for rows both ways.
//!
//! The way of a byte out: socket, one large buffer ([`inbox`]), rows taken out of it ([`rows`]) to
//! where whoever asked gathers them ([`RowsOut`]). The way in: pieces of any size, gathered into
//! messages ([`CopyIn`]). Other queries are for [`super::Session`]; here
//! they are for what must be asked within the transaction in which rows are read.

mod answer;
mod copy_in;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod inbox;
mod login;
mod replication;
mod rows;
mod rows_out;
#[cfg(test)]
mod tests;

pub use copy_in::CopyIn;
pub use replication::{
    NewSlot, POSTGRES_EPOCH_MICROS, Replicated, ReplicationSession, SystemIdentity, WalSent,
};
pub use rows_out::RowsOut;

use super::cancel::{Cancel, Key};
use super::settings::Settings;
use super::socket::Stream;
use super::{Row, ServerError, connect};
use crate::{Error, ErrorKind, Result};
use answer::Answer;
use bytes::BytesMut;
use inbox::{Carrier, Inbox, Item};
use login::Purpose;
use postgres_protocol::IsNull;
use postgres_protocol::message::backend::{CommandCompleteBody, Message};
use postgres_protocol::message::frontend::{self, BindError};
use std::{io, iter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An open session.
///
/// Dropping it closes the connection; if a command is running, the server is asked to stop
/// it. After a future of a command was dropped half way, the session takes no further ones.
pub struct WireSession {
    line: Line,
    cancel: Cancel,
    state: State,
}

/// The format code of binary values.
const BINARY: i16 = 1;

/// Bytes of rows that are worth reading at once.
const MANY_BYTES: u64 = 64 << 10;

/// The stream with what has arrived from it.
struct Line {
    stream: Stream,
    inbox: Inbox,
}

/// What the server is doing for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waiting for a command.
    Idle,
    /// At a command whose end we have not read.
    Busy,
    /// Nothing: the connection is lost.
    Lost,
}

impl WireSession {
    /// Opens a session; `purpose` is a word for the application name: `pgkeep PURPOSE`.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`], [`ErrorKind::Authentication`] or [`ErrorKind::NotFound`]
    /// when no server lets us in.
    pub async fn connect(settings: &Settings, purpose: &str) -> Result<Self> {
        let mut session = Self::log_in(settings, purpose, Purpose::Sql).await?;
        match session.execute(super::session::WATCH_CLIENT).await {
            // Not every platform can.
            Err(error) if error.kind() == ErrorKind::Server => tracing::debug!("{error:?}"),
            done => done?,
        }
        if let Some(sql) = session.cancel.settings().role_sql() {
            session.execute(&sql).await.map_err(connect::not_that_role)?;
        }
        Ok(session)
    }

    async fn log_in(settings: &Settings, name: &str, purpose: Purpose) -> Result<Self> {
        let ((line, key), settings) = connect::establish(settings, name, |stream, login| {
            Box::pin(login::log_in(stream, login, purpose))
        })
        .await?;
        let cancel = Cancel::new(settings, Key::Own(key));
        Ok(Self { line, cancel, state: State::Idle })
    }

    /// Has the runtime that this is called in wait for the server's bytes, in place of the one that the
    /// session was opened in. It works without, but then each wait takes the way through a thread of
    /// that runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] when the system gives no descriptor for it.
    pub fn moved_here(mut self) -> Result<Self> {
        let moved = self.line.stream.move_here();
        moved.map_err(|error| {
            Error::new(ErrorKind::Connection, "could not hand a connection over").because(error)
        })?;
        Ok(self)
    }

    /// The process id of the server's side; 0 when it gave none.
    #[must_use]
    pub fn backend(&self) -> u32 {
        self.cancel.backend()
    }

    /// A handle that can stop what this session does.
    #[must_use]
    pub fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Runs statements; rows they return are thrown away.
    ///
    /// # Errors
    /// The kind that the SQLSTATE stands for, else [`ErrorKind::Server`], with
    /// [`ServerError`] as cause; [`ErrorKind::Connection`] when the session is lost.
    pub async fn execute(&mut self, sql: &str) -> Result<()> {
        self.run(sql, |_| Ok(())).await
    }

    /// Runs one query and returns its rows.
    ///
    /// # Errors
    /// As [`WireSession::execute`]; the session is lost when the answer makes no sense.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<Row>> {
        let mut answer = Answer::default();
        self.run(sql, |message| answer.take(message)).await?;
        Ok(answer.rows())
    }

    /// Runs statements and hands over each message of the answer.
    async fn run(
        &mut self,
        sql: &str,
        mut take: impl FnMut(&Message) -> Result<()> + Send,
    ) -> Result<()> {
        self.begin(sql).await?;
        loop {
            match self.message().await? {
                message @ (Message::RowDescription(_)
                | Message::DataRow(_)
                | Message::CommandComplete(_)
                | Message::EmptyQueryResponse) => {
                    take(&message).inspect_err(|_| self.state = State::Lost)?;
                }
                Message::ReadyForQuery(_) => {
                    self.state = State::Idle;
                    return Ok(());
                }
                Message::ErrorResponse(body) => {
                    return Err(self.fail(ServerError::from_fields(body.fields())).await);
                }
                _ => return Err(self.out_of_step()),
            }
        }
    }

    /// Begins a `COPY … TO STDOUT` in text format.
    ///
    /// # Errors
    /// As [`WireSession::execute`].
    pub async fn copy_out(&mut self, sql: &str) -> Result<RowsOut<'_>> {
        self.begin(sql).await?;
        match self.message().await? {
            Message::CopyOutResponse(body) if body.format() == 0 => {
                Ok(RowsOut::new(self, Carrier::CopyData))
            }
            other => Err(self.not_begun(other).await),
        }
    }

    /// Begins a query whose rows come as tuples of binary COPY, for which the server needs less time
    /// than for COPY itself (docs/decisions/0023).
    ///
    /// # Errors
    /// As [`WireSession::execute`].
    pub async fn select(&mut self, sql: &str) -> Result<RowsOut<'_>> {
        let mut messages = BytesMut::new();
        select_messages(sql, &mut messages).map_err(unsendable)?;
        self.command(&messages).await?;
        // No description is asked for, so rows come next.
        match self.message().await? {
            Message::ParseComplete => {}
            other => return Err(self.not_begun(other).await),
        }
        match self.message().await? {
            Message::BindComplete => Ok(RowsOut::new(self, Carrier::DataRow)),
            other => Err(self.not_begun(other).await),
        }
    }

    /// Begins a `COPY … FROM STDIN`, in text or binary format.
    ///
    /// # Errors
    /// As [`WireSession::execute`].
    pub async fn copy_in(&mut self, sql: &str) -> Result<CopyIn<'_>> {
        self.begin(sql).await?;
        match self.message().await? {
            Message::CopyInResponse(body) => CopyIn::new(self, body.format()),
            other => Err(self.not_begun(other).await),
        }
    }

    /// Says goodbye and closes the connection. Calling it again does nothing.
    pub async fn close(&mut self) {
        if self.state == State::Idle {
            let mut message = BytesMut::new();
            frontend::terminate(&mut message);
            let stream = &mut self.line.stream;
            // The server knows from the end of the stream as well.
            if stream.write_all(&message).await.is_ok() {
                stream.shutdown().await.ok();
            }
        }
        self.state = State::Lost;
    }

    /// Sends a query.
    async fn begin(&mut self, sql: &str) -> Result<()> {
        let mut message = BytesMut::new();
        frontend::query(sql, &mut message).map_err(unsendable)?;
        self.command(&message).await
    }

    /// Sends the messages of a command.
    async fn command(&mut self, messages: &[u8]) -> Result<()> {
        match self.state {
            State::Idle => {}
            State::Busy => {
                let message = "session was left in the middle of a command";
                return Err(Error::new(ErrorKind::Connection, message));
            }
            State::Lost => return Err(Error::new(ErrorKind::Connection, "session is closed")),
        }
        self.state = State::Busy;
        let sent = self.line.send(messages).await;
        sent.map_err(|error| self.lost(error))
    }

    /// The next message that is an answer.
    async fn message(&mut self) -> Result<Message> {
        match self.line.message().await {
            Err(error) => {
                self.state = State::Lost;
                Err(error)
            }
            done => done,
        }
    }

    /// Reads to the end of a command that failed, and makes its error.
    async fn fail(&mut self, error: ServerError) -> Error {
        // After a FATAL the server closes; then there is no end to read, and this error is
        // the reason.
        loop {
            match self.message().await {
                Ok(Message::ReadyForQuery(_)) => {
                    self.state = State::Idle;
                    break;
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        error.into_error("server reported an error")
    }

    /// The error for rows that did not begin to come or go.
    async fn not_begun(&mut self, message: Message) -> Error {
        match message {
            Message::ErrorResponse(body) => {
                self.fail(ServerError::from_fields(body.fields())).await
            }
            _ => self.out_of_step(),
        }
    }

    /// Reads the end of a command whose rows went well; the number of them that the server says, which
    /// perhaps it said before.
    async fn end_of_rows(&mut self, mut rows: Option<u64>) -> Result<Option<u64>> {
        loop {
            match self.message().await? {
                Message::CommandComplete(body) => rows = rows_of(&body),
                Message::ReadyForQuery(_) => {
                    self.state = State::Idle;
                    return Ok(rows);
                }
                Message::ErrorResponse(body) => {
                    return Err(self.fail(ServerError::from_fields(body.fields())).await);
                }
                _ => return Err(self.out_of_step()),
            }
        }
    }

    fn lost(&mut self, error: io::Error) -> Error {
        self.state = State::Lost;
        connection_lost().because(error)
    }

    /// The error for a message that cannot come now; what would follow is anybody's guess.
    fn out_of_step(&mut self) -> Error {
        self.state = State::Lost;
        Error::new(ErrorKind::Connection, "server answered with a message that makes no sense here")
    }
}

impl Drop for WireSession {
    fn drop(&mut self) {
        if self.state == State::Busy {
            self.cancel.clone().send_detached();
        }
    }
}

impl Line {
    fn new(stream: Stream) -> Self {
        Self { stream, inbox: Inbox::new() }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Waits for more bytes.
    async fn fill(&mut self) -> Result<()> {
        let read = self.stream.read(self.inbox.spare()).await;
        match read.map_err(|error| connection_lost().because(error))? {
            0 => Err(connection_lost().because(io::Error::from(io::ErrorKind::UnexpectedEof))),
            count => {
                self.inbox.filled(count);
                Ok(())
            }
        }
    }

    /// Waits for more bytes of many.
    async fn fill_with_many(&mut self) -> Result<()> {
        self.stream.gather(MANY_BYTES);
        self.fill().await
    }

    /// The next message that is an answer; what the server says unasked goes to the log.
    async fn message(&mut self) -> Result<Message> {
        loop {
            match self.inbox.next(Carrier::CopyData)? {
                None => self.fill().await?,
                Some(Item::Message(message)) => {
                    if let Some(message) = answer(message) {
                        return Ok(message);
                    }
                }
                Some(Item::Piece { .. }) => {
                    let message = "server sent COPY data that nobody asked for";
                    return Err(Error::new(ErrorKind::Connection, message));
                }
            }
        }
    }
}

/// The message, unless it is one that the server may send at any time.
fn answer(message: Message) -> Option<Message> {
    match message {
        Message::NoticeResponse(body) => ServerError::from_fields(body.fields()).log_notice(),
        Message::ParameterStatus(_) | Message::NotificationResponse(_) => {}
        other => return Some(other),
    }
    None
}

/// What asks for the rows of a query in binary format: the extended query protocol, by an unnamed
/// statement and portal.
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY>
fn select_messages(sql: &str, messages: &mut BytesMut) -> io::Result<()> {
    frontend::parse("", sql, [], messages)?;
    let no_parameters = iter::empty::<()>();
    frontend::bind("", "", [], no_parameters, |(), _| Ok(IsNull::Yes), [BINARY], messages)
        .map_err(|error| match error {
            BindError::Conversion(error) => io::Error::other(error),
            BindError::Serialization(error) => error,
        })?;
    frontend::execute("", 0, messages)?;
    frontend::sync(messages);
    Ok(())
}

/// The number of rows in the tag of a command that is done: `COPY 42`, `SELECT 42`.
fn rows_of(body: &CommandCompleteBody) -> Option<u64> {
    let (command, rows) = body.tag().ok()?.split_once(' ')?;
    matches!(command, "COPY" | "SELECT").then(|| rows.parse().ok())?
}

fn unsendable(error: io::Error) -> Error {
    Error::new(ErrorKind::Internal, "statement cannot be sent").because(error)
}

fn connection_lost() -> Error {
    Error::new(ErrorKind::Connection, "connection to the server is lost")
}
