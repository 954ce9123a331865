//! What stands between the socket and the driver: the driver believes a server's lengths and
//! keeps whatever it is sent, so this looks at each message's header as the bytes pass, and ends
//! the connection of a server that would fill our memory. Bytes pass unchanged and uncopied.
//! [`super::WireSession`] needs no guard: its inbox limits what it takes.

use super::socket::Stream;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

/// Longest message, in bytes: one row of a catalog, such as a function's definition.
const MESSAGE_BYTES_MAX: u64 = 128 << 20;

/// Most that the answers up to the end of a login may take.
const LOGIN_COST_MAX: u64 = 1 << 20;

/// Most that the answer to one command may take: that of a catalog with some 200,000 tables.
const ANSWER_COST_MAX: u64 = 1 << 30;

/// Most that parameters may take as long as a connection lasts: the driver keeps them all.
const PARAMETERS_COST_MAX: u64 = 1 << 20;

/// What a message takes in memory beside its bytes.
const MESSAGE_COST: u64 = 256;

/// What a field of a row takes in memory beside its bytes.
const FIELD_COST: u64 = 24;

/// A tag byte and a length.
const HEADER_BYTES: usize = 5;

/// A header and what DataRow begins with: the number of its fields.
const ROW_HEADER_BYTES: usize = HEADER_BYTES + 2;

const PARAMETER_STATUS: u8 = b'S';
const DATA_ROW: u8 = b'D';
const READY_FOR_QUERY: u8 = b'Z';

/// A stream of which every message is looked at.
pub(super) struct Guarded {
    stream: Stream,
    framing: Framing,
    reason: Reason,
}

/// Why the guard ended a connection, once it did: the driver does not pass it on.
#[derive(Clone, Default)]
pub(super) struct Reason(Arc<OnceLock<String>>);

impl Reason {
    pub(super) fn get(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

impl Guarded {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, framing: Framing::new(), reason: Reason::default() }
    }

    pub(super) fn reason(&self) -> Reason {
        self.reason.clone()
    }
}

/// Where in the stream of messages we are, and what they take.
struct Framing {
    header: [u8; ROW_HEADER_BYTES],
    header_len: usize,
    /// Bytes of the message at hand that are still to come.
    left: u64,
    /// What the answer at hand takes, and may take.
    cost: u64,
    cost_max: u64,
    parameters_cost: u64,
}

impl Framing {
    fn new() -> Self {
        Self {
            header: [0; ROW_HEADER_BYTES],
            header_len: 0,
            left: 0,
            cost: 0,
            cost_max: LOGIN_COST_MAX,
            parameters_cost: 0,
        }
    }

    /// Looks at the next bytes, which may begin and end anywhere.
    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header[self.header_len] = *first;
            self.header_len += 1;
            bytes = rest;
            if self.header_len >= HEADER_BYTES {
                self.header()?;
            }
        }
        Ok(())
    }

    fn header(&mut self) -> Result<(), String> {
        let [tag, a, b, c, d, count @ ..] = self.header;
        let length = u64::from(u32::from_be_bytes([a, b, c, d]));
        let Some(body) = length.checked_sub(4) else {
            return Err(format!(
                "server announced a message of {length} bytes, which is too short"
            ));
        };
        if body > MESSAGE_BYTES_MAX {
            return Err(format!("server announced a message of {body} bytes, which is too long"));
        }
        let counts_fields = tag == DATA_ROW && body >= count.len() as u64;
        if counts_fields && self.header_len < ROW_HEADER_BYTES {
            return Ok(());
        }
        let (counted, fields) =
            if counts_fields { (count.len() as u64, u16::from_be_bytes(count)) } else { (0, 0) };
        self.header_len = 0;
        self.left = body - counted;
        self.charge(tag, MESSAGE_COST + body + FIELD_COST * u64::from(fields))
    }

    fn charge(&mut self, tag: u8, cost: u64) -> Result<(), String> {
        match tag {
            READY_FOR_QUERY => {
                self.cost = 0;
                self.cost_max = ANSWER_COST_MAX;
                return Ok(());
            }
            PARAMETER_STATUS => self.parameters_cost += cost,
            _ => {}
        }
        self.cost += cost;
        if self.cost > self.cost_max || self.parameters_cost > PARAMETERS_COST_MAX {
            return Err("server's answer is too large".to_owned());
        }
        Ok(())
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = read
            && let Err(reason) = this.framing.pass(&buf.filled()[before..])
        {
            let reason = this.reason.0.get_or_init(|| reason);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason.clone())));
        }
        read
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl TlsStream for Guarded {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[tag], &length.to_be_bytes()[..], body].concat()
    }

    fn row(fields: u16) -> Vec<u8> {
        let nulls = (0..fields).flat_map(|_| (-1i32).to_be_bytes());
        message(DATA_ROW, &fields.to_be_bytes().into_iter().chain(nulls).collect::<Vec<_>>())
    }

    fn logged_in() -> Framing {
        let mut framing = Framing::new();
        framing.pass(&message(READY_FOR_QUERY, b"I")).unwrap();
        framing
    }

    #[test]
    fn impossible_lengths_are_refused_as_soon_as_the_header_is_there() {
        for length in [0u32, 1, 3, 0x0800_0005, 0x4000_0000, 0x7fff_ffff, u32::MAX] {
            for tag in *b"RTDCZNSEd" {
                let header = [&[tag], &length.to_be_bytes()[..]].concat();
                let refused = logged_in().pass(&header).unwrap_err();
                assert!(refused.contains("server announced a message"), "{refused}");
            }
        }
        logged_in().pass(&[DATA_ROW, 8, 0, 0, 4]).unwrap();
    }

    #[test]
    fn an_answer_without_end_is_refused_however_small_its_messages() {
        for endless in [message(DATA_ROW, b""), row(0), row(1000), message(b'N', b"\0")] {
            let mut framing = logged_in();
            let messages = (0..=ANSWER_COST_MAX).find(|_| framing.pass(&endless).is_err());
            assert!(messages.unwrap() <= ANSWER_COST_MAX / MESSAGE_COST);
        }
    }

    #[test]
    fn answers_that_end_may_follow_one_another_for_ever_but_parameters_may_not() {
        let mut framing = logged_in();
        let answer = [message(DATA_ROW, &[0; 1 << 20]), message(READY_FOR_QUERY, b"I")].concat();
        for _ in 0..2048 {
            framing.pass(&answer).unwrap();
        }
        let answer = [message(PARAMETER_STATUS, b"name\0value\0"), answer].concat();
        assert!((0..5000).any(|_| framing.pass(&answer).is_err()));
    }

    #[test]
    fn a_login_is_short() {
        let mut framing = Framing::new();
        assert!((0..5000).any(|_| framing.pass(&message(b'N', &[0; 1000])).is_err()));
    }

    proptest! {
        #[test]
        fn it_makes_no_difference_where_the_bytes_are_cut(
            rows in prop::collection::vec(0u16..5, 0..8),
            size in 1usize..40,
        ) {
            let messages: Vec<u8> = rows.iter().flat_map(|fields| row(*fields)).collect();
            let (mut whole, mut cut) = (logged_in(), logged_in());
            whole.pass(&messages).unwrap();
            for piece in messages.chunks(size) {
                cut.pass(piece).unwrap();
            }
            prop_assert_eq!(whole.cost, cut.cost);
            prop_assert_eq!((cut.left, cut.header_len), (0, 0));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = logged_in().pass(&bytes);
        }
    }
}
