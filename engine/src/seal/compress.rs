//! zstd, one frame for one body, bounded by the plain length that the seal vouches for.

use crate::{Error, ErrorKind, Result};
use pgkeep_format::frame::Codec;
use std::cell::RefCell;
use std::io;

/// The level: on rows, a higher one costs much time and saves next to nothing.
const LEVEL: i32 = 1;

thread_local! {
    // A context holds megabytes of tables: made once for each thread, not for each chunk.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses, and says how; bytes that do not shrink are kept as they are.
///
/// # Errors
/// [`ErrorKind::Internal`] when zstd fails.
pub(super) fn compress(plain: &[u8]) -> Result<(Codec, Vec<u8>)> {
    let compressed = COMPRESSOR.with(|compressor| -> io::Result<Vec<u8>> {
        let mut compressor = compressor.borrow_mut();
        if compressor.is_none() {
            *compressor = Some(zstd::bulk::Compressor::new(LEVEL)?);
        }
        match compressor.as_mut() {
            Some(compressor) => compressor.compress(plain),
            None => Err(io::Error::other("no compressor")),
        }
    });
    let compressed = compressed.map_err(|error| {
        Error::new(ErrorKind::Internal, "could not compress a chunk").because(error)
    })?;
    if compressed.len() < plain.len() {
        Ok((Codec::Zstd, compressed))
    } else {
        Ok((Codec::Raw, plain.to_vec()))
    }
}

/// Decompresses to exactly `plain_len` bytes, which the caller has compared with the
/// format's limit.
///
/// # Errors
/// [`ErrorKind::Damaged`] when the body is not that.
pub(super) fn decompress(codec: Codec, body: &[u8], plain_len: usize) -> Result<Vec<u8>> {
    let damaged = || Error::new(ErrorKind::Damaged, "chunk does not decompress to its length");
    match codec {
        Codec::Raw => Ok(body.to_vec()),
        Codec::Zstd => {
            let plain = zstd::bulk::decompress(body, plain_len)
                .map_err(|error| damaged().because(error))?;
            if plain.len() == plain_len { Ok(plain) } else { Err(damaged()) }
        }
        Codec::ColumnsZstd => Err(Error::new(
            ErrorKind::UnsupportedFormat,
            "chunk is laid out by columns, which this version does not read",
        )
        .hint("Use a newer version of pgkeep.")),
    }
}
