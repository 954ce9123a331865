//! zstd, one frame for one body, bounded by the plain length that the seal vouches for.

use super::layout::{Layout, Try};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::frame::Codec;
use pgkeep_format::{FormatError, columns, tuple_columns};
use ring::aead;
use std::cell::RefCell;
use std::io;

/// The level: on rows, a higher one costs much time and saves next to nothing.
const LEVEL: i32 = 1;

thread_local! {
    // Megabytes of tables and room: made once for each thread, not for each chunk.
    static BENCH: RefCell<Bench> = RefCell::default();
}

/// What one chunk after the other is laid out and compressed on.
#[derive(Default)]
struct Bench {
    layer: tuple_columns::Layer,
    compressor: Option<zstd::bulk::Compressor<'static>>,
    by_columns: Vec<u8>,
    by_rows: Vec<u8>,
}

/// Compresses behind what `frame` has, and says how; bytes that do not shrink are kept as they are.
///
/// # Errors
/// [`ErrorKind::Internal`] when zstd fails.
pub(super) fn compress(
    plain: &[u8],
    layout: Option<&Layout>,
    frame: &mut Vec<u8>,
) -> Result<Codec> {
    BENCH.with_borrow_mut(|bench| {
        let (codec, compressed) = bench.compress(plain, layout).map_err(|error| {
            Error::new(ErrorKind::Internal, "could not compress a chunk").because(error)
        })?;
        let (codec, body) = match compressed.len() < plain.len() {
            true => (codec, compressed),
            false => (Codec::Raw, plain),
        };
        frame.reserve_exact(body.len() + aead::MAX_TAG_LEN);
        frame.extend_from_slice(body);
        Ok(codec)
    })
}

impl Bench {
    fn compress(&mut self, plain: &[u8], layout: Option<&Layout>) -> io::Result<(Codec, &[u8])> {
        let tried = layout.map_or(Try::Rows, Layout::next);
        let by_columns = match tried {
            Try::Rows => None,
            Try::Columns | Try::Both => self.compress_columns(plain)?,
        };
        if let (Some(codec), Try::Columns) = (by_columns, tried) {
            return Ok((codec, &self.by_columns));
        }
        zstd(&mut self.compressor, plain, &mut self.by_rows)?;
        let Some(codec) = by_columns else { return Ok((Codec::Zstd, &self.by_rows)) };
        let columns_win = self.by_columns.len() < self.by_rows.len();
        layout.into_iter().for_each(|layout| layout.learn(columns_win));
        Ok(match columns_win {
            true => (codec, &self.by_columns),
            false => (Codec::Zstd, &self.by_rows),
        })
    }

    /// Binary tuples are told from lines by what they are: of lines no count and lengths can be read
    /// that fit, and if they could, they would come back the same.
    fn compress_columns(&mut self, plain: &[u8]) -> io::Result<Option<Codec>> {
        let of_text;
        let (codec, laid) = match self.layer.lay_out(plain) {
            Some(laid) => (Codec::TupleColumnsZstd, laid),
            None => match columns::lay_out(plain) {
                Some(laid) => {
                    of_text = laid;
                    (Codec::ColumnsZstd, of_text.as_slice())
                }
                None => return Ok(None),
            },
        };
        zstd(&mut self.compressor, laid, &mut self.by_columns)?;
        Ok(Some(codec))
    }
}

fn zstd(
    compressor: &mut Option<zstd::bulk::Compressor<'static>>,
    bytes: &[u8],
    compressed: &mut Vec<u8>,
) -> io::Result<()> {
    let compressor = match compressor {
        Some(compressor) => compressor,
        None => compressor.insert(zstd::bulk::Compressor::new(LEVEL)?),
    };
    compressed.clear();
    compressed.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
    compressor.compress_to_buffer(bytes, compressed)?;
    Ok(())
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
