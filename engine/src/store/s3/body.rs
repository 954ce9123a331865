//! Bytes on their way out: what was written piece by piece is sent piece by piece, and sent again
//! for each try.

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_types::base64;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

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
        base64::encode(self.crc.clone().finalize().to_be_bytes())
    }

    pub(super) fn into_stream(self) -> ByteStream {
        let (pieces, len) = (Arc::new(self.pieces), self.len);
        let body =
            move || SdkBody::from_body_1_x(Sending { pieces: pieces.clone(), next: 0, left: len });
        ByteStream::new(SdkBody::retryable(body))
    }
}

struct Sending {
    pieces: Arc<Vec<Bytes>>,
    next: usize,
    left: u64,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(piece) = self.pieces.get(self.next).cloned() else { return Poll::Ready(None) };
        self.next += 1;
        self.left -= piece.len() as u64;
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
