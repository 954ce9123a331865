//! Bytes on their way out: what was written piece by piece is sent piece by piece, and sent again
//! for each try.

use crate::store::pace::Pace;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_types::base64;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::{Sleep, sleep_until};

/// Pieces of an object.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pieces: Vec<Bytes>,
    len: u64,
    crc: crc32fast::Hasher,
}

impl Pieces {
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len() as u64;
        self.crc.update(&bytes);
        self.pieces.push(bytes);
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Their CRC32 as S3 writes it: big endian, in base64.
    pub(super) fn checksum(&self) -> String {
        written(self.crc.clone().finalize())
    }

    /// Sends them, no faster than `pace` lets them go.
    pub(super) fn into_stream(self, pace: Option<Pace>) -> ByteStream {
        let (pieces, len) = (Arc::new(self.pieces), self.len);
        let body = move || {
            SdkBody::from_body_1_x(Sending {
                pieces: pieces.clone(),
                next: 0,
                sent: 0,
                left: len,
                pace: pace.clone(),
                waiting: None,
            })
        };
        ByteStream::new(SdkBody::retryable(body))
    }
}

/// The CRC32 of some bytes as S3 writes it.
pub(super) fn checksum_of(bytes: &[u8]) -> String {
    written(crc32fast::hash(bytes))
}

fn written(crc: u32) -> String {
    base64::encode(crc.to_be_bytes())
}

struct Sending {
    pieces: Arc<Vec<Bytes>>,
    /// The piece that is next, and what of it was sent.
    next: usize,
    sent: usize,
    left: u64,
    pace: Option<Pace>,
    /// Until the bytes that are next may go.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Sending {
    /// The bytes that are next.
    fn piece(&self) -> Option<Bytes> {
        let rest = self.pieces.get(self.next)?.slice(self.sent..);
        let most = self.pace.as_ref().map_or(usize::MAX, Pace::piece);
        Some(rest.slice(..rest.len().min(most)))
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(piece) = self.piece() else { return Poll::Ready(None) };
        if let Some(pace) = self.pace.clone() {
            let waiting = self
                .waiting
                .get_or_insert_with(|| Box::pin(sleep_until(pace.reserve(piece.len() as u64))));
            std::task::ready!(waiting.as_mut().poll(context));
            self.waiting = None;
        }
        self.sent += piece.len();
        self.left -= piece.len() as u64;
        if self.sent == self.pieces[self.next].len() {
            (self.next, self.sent) = (self.next + 1, 0);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.next == self.pieces.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all_of(pace: Option<Pace>) -> Bytes {
        let mut pieces = Pieces::default();
        for piece in [&b"one"[..], b"", b"two, which is longer", b"3"] {
            pieces.push(Bytes::from_static(piece));
        }
        pieces.into_stream(pace).collect().await.unwrap().into_bytes()
    }

    #[tokio::test]
    async fn bytes_go_out_in_order_and_as_fast_as_they_may() {
        let begun = tokio::time::Instant::now();
        assert_eq!(all_of(None).await, "onetwo, which is longer3");
        let pace = Pace::new(std::num::NonZeroU64::new(48).unwrap());
        assert_eq!(all_of(Some(pace)).await, "onetwo, which is longer3");
        assert!(begun.elapsed() >= std::time::Duration::from_millis(500), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_checksum_is_written_as_s3_writes_it() {
        // The check value of CRC-32, and base64 by another program.
        let mut pieces = Pieces::default();
        pieces.push(Bytes::from_static(b"1234"));
        pieces.push(Bytes::from_static(b"56789"));
        assert_eq!(pieces.checksum(), "y/Q5Jg==");
        assert_eq!(Pieces::default().checksum(), "AAAAAA==");
    }
}
