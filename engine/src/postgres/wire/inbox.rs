//! Bytes from the server cut into messages: pure, no sockets.
//!
//! One buffer is read into again and again. Messages that carry rows, which may be of any length,
//! are handed out in pieces where they lie; every other message is short and is parsed when whole.
//! Nothing is reserved because a length says so: the buffer grows with the bytes that come.
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use crate::{Error, ErrorKind, Result};
use bytes::BytesMut;
use postgres_protocol::message::backend::{
    COPY_DATA_TAG, COPY_OUT_RESPONSE_TAG, DATA_ROW_TAG, Header, Message,
};
use std::ops::Range;

/// Bytes read at a time. The server sends 8 KiB at a time; what has piled up meanwhile is
/// taken in one go.
const READ_BYTES: usize = 256 << 10;

/// Longest message that is parsed when whole, in bytes. Errors, notices and parameters are short,
/// and so are rows of the catalogs that are asked for here.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The first piece of a message is at least this long, or the whole: who looks at a tuple sees how
/// many fields it has.
const FIRST_PIECE_BYTES: usize = 2;

/// CopyBothResponse, with which replication begins.
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
const COPY_BOTH_RESPONSE_TAG: u8 = b'W';

/// A tag byte and a length.
const HEADER_BYTES: usize = 5;

/// Which messages are handed out in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// CopyData: lines of a COPY in text, and what replication sends.
    CopyData,
    /// DataRow: tuples, of a query in binary format.
    DataRow,
}

impl Carrier {
    fn tag(self) -> u8 {
        match self {
            Self::CopyData => COPY_DATA_TAG,
            Self::DataRow => DATA_ROW_TAG,
        }
    }
}

/// What has arrived and is not yet used.
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    /// Unused bytes are `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Bytes of the message being handed out in pieces that have not been.
    left: usize,
    /// Whether a message is being handed out in pieces.
    in_pieces: bool,
}

/// What comes next.
pub(crate) enum Item {
    /// A message that is whole.
    Message(Message),
    /// Bytes of a message that carries rows, as a range of [`Inbox::bytes`]; `begins` and `ends` say whether
    /// they are its first and its last. A piece is empty only when the whole message is.
    Piece {
        /// Where they are, until the next call of [`Inbox::spare`].
        range: Range<usize>,
        /// Whether the message begins here.
        begins: bool,
        /// Whether the message ends here.
        ends: bool,
    },
}

impl Inbox {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; READ_BYTES], start: 0, end: 0, left: 0, in_pieces: false }
    }

    /// Room for bytes from the server, never empty. Ranges handed out before are void.
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        // Only a message that must be whole can fill the buffer, and those are limited.
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// Says that `count` bytes of [`Inbox::spare`] were filled.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// The buffer that ranges speak of.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The next item, messages of `carrier` in pieces; absent when more bytes are needed.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] when what came is no message of the protocol.
    #[inline]
    pub(crate) fn next(&mut self, carrier: Carrier) -> Result<Option<Item>> {
        if self.in_pieces {
            return Ok(self.piece(false));
        }
        let unused = &self.buffer[self.start..self.end];
        let Some(header) = Header::parse(unused).map_err(malformed)? else { return Ok(None) };
        let length = usize::try_from(header.len()).map_err(malformed)? - 4;
        if header.tag() == carrier.tag() {
            if unused.len() < HEADER_BYTES + length.min(FIRST_PIECE_BYTES) {
                return Ok(None);
            }
            self.start += HEADER_BYTES;
            self.left = length;
            return Ok(self.piece(true));
        }
        if length > MESSAGE_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::Connection,
                format!("server announced a message of {length} bytes, which is too long"),
            ));
        }
        let whole = HEADER_BYTES + length;
        if unused.len() < whole {
            return Ok(None);
        }
        let mut bytes = BytesMut::from(&unused[..whole]);
        if header.tag() == COPY_BOTH_RESPONSE_TAG {
            // The protocol crate does not know it; its body is that of a CopyOutResponse.
            bytes[0] = COPY_OUT_RESPONSE_TAG;
        }
        self.start += whole;
        Message::parse(&mut bytes).map_err(malformed).map(|message| message.map(Item::Message))
    }

    #[inline]
    fn piece(&mut self, begins: bool) -> Option<Item> {
        let length = self.left.min(self.end - self.start);
        if length == 0 && self.left > 0 {
            self.in_pieces = true;
            return None;
        }
        let range = self.start..self.start + length;
        self.start += length;
        self.left -= length;
        self.in_pieces = self.left > 0;
        Some(Item::Piece { range, begins, ends: !self.in_pieces })
    }
}

fn malformed(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Connection, "server sent something that is not of the protocol")
        .because(cause)
}
