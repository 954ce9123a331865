//! What `fuzz/` runs of this module: a server's bytes to rows, in pieces of any size.

use super::inbox::{Carrier, Inbox};
use super::rows::RowReader;
use crate::Result;
use postgres_protocol::message::backend::Message;

/// Takes `stream` as what a server sends of rows, `piece_len` bytes at a time, and returns
/// those that ended, one after another, with where each ends.
///
/// # Errors
/// As the session's: when they are no such rows.
pub fn rows_out(binary: bool, stream: &[u8], piece_len: usize) -> Result<(Vec<u8>, Vec<usize>)> {
    let carrier = if binary { Carrier::DataRow } else { Carrier::CopyData };
    let (mut inbox, mut reader) = (Inbox::new(), RowReader::new(carrier));
    let (mut rows, mut all_ends, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = stream;
    loop {
        let message = reader.take(&mut inbox, &mut rows, &mut ends)?;
        all_ends.extend_from_slice(&ends);
        match message {
            Some(Message::CopyDone | Message::CommandComplete(_)) => {
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
