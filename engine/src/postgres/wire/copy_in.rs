//! `COPY … FROM STDIN`: bytes of rows, in pieces of any size, gathered into messages.
//!
//! The server may refuse a row, or say something, while we are still sending. So whenever
//! bytes are sent, those that come back are read too: neither side waits for the other
//! with both sockets full.

use super::inbox::{Carrier, Item};
use super::{Line, State, WireSession, answer};
use crate::postgres::ServerError;
use crate::{Error, ErrorKind, Result};
use bytes::BytesMut;
use pgkeep_format::entry::RowEncoding;
use postgres_protocol::message::backend::{COPY_DATA_TAG, Message};
use postgres_protocol::message::frontend;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of rows in one CopyData message.
const MESSAGE_BYTES: usize = 128 << 10;

/// A tag byte and a length before them.
const MESSAGE_HEADER_BYTES: usize = 5;

/// What binary COPY begins with; flags and the length of an extension follow.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Signature, flags, length of the extension.
const HEADER_BYTES: usize = 19;

/// A COPY that takes rows from us.
///
/// Dropped without [`CopyIn::finish`] or [`CopyIn::fail`], it leaves the session of no more
/// use, and the server copies nothing.
pub struct CopyIn<'a> {
    session: &'a mut WireSession,
    encoding: RowEncoding,
    /// The message being gathered, from its tag on.
    message: Vec<u8>,
    over: bool,
}

impl<'a> CopyIn<'a> {
    pub(super) fn new(session: &'a mut WireSession, format: u8) -> Result<Self> {
        let encoding = encoding(format).ok_or_else(|| session.out_of_step())?;
        let mut message = Vec::with_capacity(MESSAGE_HEADER_BYTES + MESSAGE_BYTES);
        message.extend([COPY_DATA_TAG, 0, 0, 0, 0]);
        if encoding == RowEncoding::CopyBinary {
            message.extend(SIGNATURE);
            message.resize(MESSAGE_HEADER_BYTES + HEADER_BYTES, 0);
        }
        Ok(Self { session, encoding, message, over: false })
    }

    /// How the server wants the rows written.
    #[must_use]
    pub fn encoding(&self) -> RowEncoding {
        self.encoding
    }

    /// Sends bytes of rows: of binary rows without file header and trailer. They need not
    /// begin or end where a row does.
    ///
    /// # Errors
    /// As [`WireSession::execute`], also for rows sent before: the server takes them while
    /// more are sent. After an error the COPY is over and nothing was copied.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = MESSAGE_HEADER_BYTES + MESSAGE_BYTES - self.message.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.message.extend_from_slice(now);
            bytes = later;
            if self.message.len() == MESSAGE_HEADER_BYTES + MESSAGE_BYTES {
                self.send_gathered().await?;
            }
        }
        Ok(())
    }

    /// Ends the COPY; the number of rows copied, as the server says.
    ///
    /// # Errors
    /// As [`CopyIn::write`].
    pub async fn finish(mut self) -> Result<u64> {
        if self.encoding == RowEncoding::CopyBinary {
            self.write(&[0xff, 0xff]).await?;
        }
        self.send_gathered().await?;
        let mut end = BytesMut::new();
        frontend::copy_done(&mut end);
        self.send(&end).await?;
        let rows = self.session.end_of_rows(None).await?;
        rows.ok_or_else(|| self.session.out_of_step())
    }

    /// Gives the COPY up: the server copies nothing and rolls back. `reason` goes to its log.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] when the session is lost.
    pub async fn fail(mut self, reason: &str) -> Result<()> {
        let mut end = BytesMut::new();
        frontend::copy_fail(&reason.replace('\0', ""), &mut end).map_err(|error| {
            Error::new(ErrorKind::Internal, "reason cannot be sent").because(error)
        })?;
        // The answer is always an error; only a lost session is one for us.
        let outcome = match self.send(&end).await {
            Ok(()) => self.session.end_of_rows(None).await.map(|_| ()),
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) if self.session.state != State::Idle => Err(error),
            _ => Ok(()),
        }
    }

    async fn send_gathered(&mut self) -> Result<()> {
        let mut message = std::mem::take(&mut self.message);
        if message.len() > MESSAGE_HEADER_BYTES {
            // The length counts itself but not the tag.
            let length = u32::try_from(message.len() - 1).map_err(|error| {
                Error::new(ErrorKind::Internal, "COPY message is too long").because(error)
            })?;
            message[1..MESSAGE_HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
            self.send(&message).await?;
            message.truncate(MESSAGE_HEADER_BYTES);
        }
        self.message = message;
        Ok(())
    }

    /// Sends bytes and hears what the server says meanwhile.
    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        if self.over {
            return Err(Error::new(ErrorKind::Internal, "COPY is over, it has failed"));
        }
        let mut sending = Sending { bytes, sent: 0, refusal: None };
        let outcome =
            std::future::poll_fn(|context| self.session.line.poll_send(context, &mut sending))
                .await;
        let refusal = match (sending.refusal, outcome) {
            (None, Ok(())) => return Ok(()),
            (Some(refusal), _) => Ok(refusal),
            // A server that broke off may have said why.
            (None, Err(error)) => self.last_words().await.ok_or(error),
        };
        self.over = true;
        match refusal {
            Ok(refusal) => Err(self.session.fail(refusal).await),
            Err(error) => {
                self.session.state = State::Lost;
                Err(error)
            }
        }
    }

    /// The error that arrived before the connection broke.
    async fn last_words(&mut self) -> Option<ServerError> {
        loop {
            match self.session.line.message().await {
                Ok(Message::ErrorResponse(body)) => {
                    return Some(ServerError::from_fields(body.fields()));
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

/// One message on its way.
struct Sending<'a> {
    bytes: &'a [u8],
    sent: usize,
    /// What the server said against it.
    refusal: Option<ServerError>,
}

impl Line {
    /// Sends a message to its end, also when the server refuses meanwhile: it throws the
    /// rest of the message away, and would take what follows for that rest.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        sending: &mut Sending<'_>,
    ) -> Poll<Result<()>> {
        let broken = |error| super::connection_lost().because(error);
        loop {
            // Once all is sent, what comes may be the answer to it, which is not for here.
            let rest = &sending.bytes[sending.sent..];
            if rest.is_empty()
                && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(context)
            {
                return Poll::Ready(flushed.map_err(broken));
            }
            if sending.refusal.is_none() {
                sending.refusal = self.poll_hear(context)?;
            }
            if rest.is_empty() {
                return Poll::Pending;
            }
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(broken(io::Error::from(io::ErrorKind::WriteZero))));
                }
                Poll::Ready(Ok(count)) => sending.sent += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(broken(error))),
            }
        }
    }

    /// Reads all that has arrived; the server's error, if it is among it. When nothing more
    /// has, the task is woken once something does.
    fn poll_hear(&mut self, context: &mut Context<'_>) -> Result<Option<ServerError>> {
        loop {
            match self.inbox.next(Carrier::CopyData)? {
                Some(Item::Message(message)) => match answer(message) {
                    None => continue,
                    Some(Message::ErrorResponse(body)) => {
                        return Ok(Some(ServerError::from_fields(body.fields())));
                    }
                    Some(_) => {}
                },
                Some(Item::Piece { .. }) => {}
                None => {
                    if self.poll_fill(context)?.is_pending() {
                        return Ok(None);
                    }
                    continue;
                }
            }
            let message = "server answered with a message that makes no sense here";
            return Err(Error::new(ErrorKind::Connection, message));
        }
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Result<Poll<()>> {
        let mut spare = ReadBuf::new(self.inbox.spare());
        let lost = |error| super::connection_lost().because(error);
        match Pin::new(&mut self.stream).poll_read(context, &mut spare) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Err(error)) => Err(lost(error)),
            Poll::Ready(Ok(())) => match spare.filled().len() {
                0 => Err(lost(io::Error::from(io::ErrorKind::UnexpectedEof))),
                count => {
                    self.inbox.filled(count);
                    Ok(Poll::Ready(()))
                }
            },
        }
    }
}

/// The encoding for the format code of a CopyInResponse.
fn encoding(format: u8) -> Option<RowEncoding> {
    match format {
        0 => Some(RowEncoding::CopyText),
        1 => Some(RowEncoding::CopyBinary),
        _ => None,
    }
}
