//! What `fuzz/` runs of this module: a server's bytes to rows, in pieces of any size.

use super::inbox::Inbox;
use super::rows::RowReader;
use crate::Result;
use pgkeep_format::entry::RowEncoding;
use postgres_protocol::message::backend::Message;

/// Takes `stream` as what a server sends of a COPY, `piece_len` bytes at a time, and returns
/// the rows that ended, one after another, with where each ends.
///
/// # Errors
/// As the session's: when it is not COPY of this encoding.
pub fn copy_rows(
    encoding: RowEncoding,
    stream: &[u8],
    piece_len: usize,
) -> Result<(Vec<u8>, Vec<usize>)> {
    let (mut inbox, mut reader) = (Inbox::new(), RowReader::new(encoding));
    let (mut rows, mut all_ends, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = stream;
    loop {
        let taken = reader.take(&mut inbox, &mut ends)?;
        all_ends.extend(ends.iter().map(|end| rows.len() + end));
        rows.extend_from_slice(&inbox.bytes()[taken.range]);
        match taken.message {
            Some(Message::CopyDone) => {
                reader.finish(Some(all_ends.len() as u64))?;
                return Ok((rows, all_ends));
            }
            Some(_) => {}
            None if rest.is_empty() => return Ok((rows, all_ends)),
            None => {
                let spare = inbox.spare();
                let len = piece_len.max(1).min(rest.len()).min(spare.len());
                spare[..len].copy_from_slice(&rest[..len]);
                inbox.filled(len);
                rest = &rest[len..];
            }
        }
    }
}
