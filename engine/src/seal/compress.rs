//! zstd, one frame for one body, bounded by the plain length that the seal vouches for.

use super::layout::{Layout, Try};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::frame::Codec;
use pgkeep_format::{FormatError, columns, tuple_columns};
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
pub(super) fn compress(plain: &[u8], layout: Option<&Layout>) -> Result<(Codec, Vec<u8>)> {
    let tried = layout.map_or(Try::Rows, Layout::next);
    let by_columns = match tried {
        Try::Rows => None,
        Try::Columns | Try::Both => by_columns(plain)?,
    };
    let (codec, compressed) = match (by_columns, tried) {
        (Some(by_columns), Try::Columns) => by_columns,
        (None, _) => (Codec::Zstd, zstd(plain)?),
        (Some(by_columns), _) => {
            let by_rows = zstd(plain)?;
            let columns_win = by_columns.1.len() < by_rows.len();
            layout.into_iter().for_each(|layout| layout.learn(columns_win));
            match columns_win {
                true => by_columns,
                false => (Codec::Zstd, by_rows),
            }
        }
    };
    if compressed.len() < plain.len() {
        Ok((codec, compressed))
    } else {
        Ok((Codec::Raw, plain.to_vec()))
    }
}

/// Binary tuples are told from lines by what they are: of lines no count and lengths can be read that
/// fit, and if they could, they would come back the same.
fn by_columns(plain: &[u8]) -> Result<Option<(Codec, Vec<u8>)>> {
    let laid = match tuple_columns::lay_out(plain) {
        Some(laid) => Some((Codec::TupleColumnsZstd, laid)),
        None => columns::lay_out(plain).map(|laid| (Codec::ColumnsZstd, laid)),
    };
    laid.map(|(codec, laid)| Ok((codec, zstd(&laid)?))).transpose()
}

fn zstd(bytes: &[u8]) -> Result<Vec<u8>> {
    let compressed = COMPRESSOR.with(|compressor| -> io::Result<Vec<u8>> {
        let mut compressor = compressor.borrow_mut();
        if compressor.is_none() {
            *compressor = Some(zstd::bulk::Compressor::new(LEVEL)?);
        }
        match compressor.as_mut() {
            Some(compressor) => compressor.compress(bytes),
            None => Err(io::Error::other("no compressor")),
        }
    });
    compressed.map_err(|error| {
        Error::new(ErrorKind::Internal, "could not compress a chunk").because(error)
    })
}

/// Decompresses to exactly `plain_len` bytes, which the caller has compared with the
/// format's limit.
///
/// # Errors
/// [`ErrorKind::Damaged`] when the body is not that.
pub(super) fn decompress(codec: Codec, body: &[u8], plain_len: usize) -> Result<Vec<u8>> {
    let damaged = || Error::new(ErrorKind::Damaged, "chunk does not decompress to its length");
    let unlaid =
        |room: usize, rows_of: fn(&[u8], usize) -> std::result::Result<Vec<u8>, FormatError>| {
            let laid =
                zstd::bulk::decompress(body, room).map_err(|error| damaged().because(error))?;
            rows_of(&laid, plain_len).map_err(|error| damaged().because(error))
        };
    match codec {
        Codec::Raw => Ok(body.to_vec()),
        Codec::Zstd => {
            let plain = zstd::bulk::decompress(body, plain_len)
                .map_err(|error| damaged().because(error))?;
            if plain.len() == plain_len { Ok(plain) } else { Err(damaged()) }
        }
        Codec::ColumnsZstd => unlaid(columns::laid_len_max(plain_len), columns::rows_of),
        Codec::TupleColumnsZstd => {
            unlaid(tuple_columns::laid_len_max(plain_len), tuple_columns::rows_of)
        }
    }
}
