//! Reads a pack from the front, where its footer is lost: each frame says how long it is. Where a
//! frame's header is lost too, the next header that is whole is searched for.

use super::Repository;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::frame::{FrameHeader, FrameType, HEADER_LEN, MAGIC};
use pgkeep_format::limits;
use pgkeep_format::name::ObjectName;
use pgkeep_format::object;
use pgkeep_format::pack::FooterEntry;

/// Bytes that are searched at once.
const WINDOW_LEN: u64 = 1 << 20;

impl Repository {
    /// The frames of a pack of `len` bytes that have a whole header and fit into it, in order; what
    /// is in them is not checked.
    ///
    /// # Errors
    /// What reading the store gives; [`ErrorKind::UnsupportedFormat`] for a frame of a later
    /// version.
    pub(crate) async fn walk_pack(&self, name: &ObjectName, len: u64) -> Result<Vec<FooterEntry>> {
        let mut entries = Vec::new();
        let mut at = object::HEADER_LEN as u64;
        while (entries.len() as u64) < limits::PACK_FRAMES_MAX {
            let Some((found_at, header)) = self.next_header(name, at, len).await? else { break };
            if header.frame_type == FrameType::Footer {
                break;
            }
            at = found_at + header.frame_len();
            if at > len {
                break;
            }
            entries.push(FooterEntry {
                chunk: header.chunk,
                frame_type: header.frame_type,
                stored_len: header.stored_len,
                offset: found_at,
            });
        }
        Ok(entries)
    }

    /// The first whole header at `at` or behind it, and where it is.
    async fn next_header(
        &self,
        name: &ObjectName,
        at: u64,
        len: u64,
    ) -> Result<Option<(u64, FrameHeader)>> {
        let header_len = HEADER_LEN as u64;
        if at + header_len > len {
            return Ok(None);
        }
        let bytes = self.store().read(name, at..at + header_len).await?;
        match FrameHeader::decode(&bytes) {
            Ok(header) => return Ok(Some((at, header))),
            Err(error) => {
                let error = Error::undecodable("frame", error);
                if error.kind() == ErrorKind::UnsupportedFormat {
                    return Err(error);
                }
            }
        }
        let mut start = at + 1;
        while start + header_len <= len {
            let end = (start + WINDOW_LEN).min(len);
            let window = self.store().read(name, start..end).await?;
            let places = window.len().saturating_sub(HEADER_LEN) + 1;
            for place in 0..places {
                if !window[place..].starts_with(MAGIC) {
                    continue;
                }
                if let Ok(header) = FrameHeader::decode(&window[place..]) {
                    return Ok(Some((start + place as u64, header)));
                }
            }
            start += places as u64;
        }
        Ok(None)
    }
}
