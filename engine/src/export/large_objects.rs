//! Large objects: their rows, each a piece of one, as what they are.

use super::rows::RowSplitter;
use crate::postgres::copy_text::{hex_digits, values};
use crate::{Error, ErrorKind, Result};

/// A piece of a large object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) oid: u32,
    /// Where in the large object it begins.
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

/// Bytes of a large object, at most, whatever the server's block size: 2^31 blocks of 8 KiB.
const LEN_MAX: u64 = 1 << 44;

/// Reads pieces out of rows.
#[derive(Default)]
pub(super) struct Pieces {
    splitter: RowSplitter,
    /// Where the last piece ended: its large object, and the byte behind it.
    end: (u32, u64),
}

impl Pieces {
    /// Gives each piece whose row ends in `plain`; they come in order and do not overlap.
    pub(super) fn read(
        &mut self,
        plain: &[u8],
        mut each: impl FnMut(Piece) -> Result<()>,
    ) -> Result<()> {
        let end = &mut self.end;
        self.splitter.split(plain, |row| {
            let piece = piece(row)?.ok_or_else(|| {
                Error::new(ErrorKind::Damaged, "a piece of a large object makes no sense")
            })?;
            if (piece.oid, piece.offset) < *end {
                let message = format!("pieces of large object {} overlap", piece.oid);
                return Err(Error::new(ErrorKind::Damaged, message));
            }
            *end = (piece.oid, piece.offset + piece.bytes.len() as u64);
            each(piece)
        })
    }
}

fn piece(row: &[u8]) -> Result<Option<Piece>> {
    let values = values(row).collect::<Result<Vec<_>>>()?;
    let [Some(oid), Some(offset), Some(data)] = values.as_slice() else { return Ok(None) };
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
    let oid = number(oid).and_then(|oid| u32::try_from(oid).ok()).filter(|oid| *oid != 0);
    let offset = number(offset).filter(|offset| *offset <= LEN_MAX);
    let bytes = data.strip_prefix(b"\\x").and_then(unhex);
    let (Some(oid), Some(offset), Some(bytes)) = (oid, offset, bytes) else { return Ok(None) };
    Ok(Some(Piece { oid, offset, bytes }))
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    hex_digits(bytes).flatten().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(rows: &str) -> Result<Vec<Piece>> {
        let mut found = Vec::new();
        Pieces::default().read(rows.as_bytes(), |piece| {
            found.push(piece);
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn rows_are_pieces_in_order() {
        let found = pieces("7\t0\t\\\\x00ff\n7\t10\t\\\\x01\n9\t0\t\\\\x\n").unwrap();
        assert_eq!(found[0], Piece { oid: 7, offset: 0, bytes: vec![0, 255] });
        assert_eq!(found[1].offset, 10);
        assert!(found[2].bytes.is_empty());
        assert_eq!(hex(&found[0].bytes), "00ff");
    }

    #[test]
    fn pieces_that_make_no_sense_are_refused() {
        for rows in [
            "7\t0\t\\\\x0\n",
            "7\t0\t\\\\xgg\n",
            "7\t0\tplain\n",
            "7\t-1\t\\\\x00\n",
            "7\t17592186044417\t\\\\x00\n",
            "0\t0\t\\\\x00\n",
            "4294967296\t0\t\\\\x00\n",
            "7\t0\t\\N\n",
            "7\t0\t\\\\x0000\n7\t1\t\\\\x00\n",
            "7\t0\t\\\\x00\n6\t0\t\\\\x00\n",
        ] {
            assert_eq!(pieces(rows).unwrap_err().kind(), ErrorKind::Damaged, "{rows:?}");
        }
    }
}
