//! A cursor over outside bytes: every read is checked, nothing is allocated by a length
//! that was not compared with what is there.

use crate::FormatError;

pub(crate) struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes, at: 0 }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            return Err(FormatError::Truncated {
                what: self.what,
                needed: (self.at as u64).saturating_add(len as u64),
                found: self.bytes.len() as u64,
            });
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Reserved bytes are written as zero and refused otherwise, so that a later version
    /// can give them a meaning that no older reader overlooks.
    pub(crate) fn reserved(&mut self, len: usize) -> Result<(), FormatError> {
        if self.take(len)?.iter().any(|byte| *byte != 0) {
            return Err(FormatError::invalid(self.what, "reserved bytes are not zero"));
        }
        Ok(())
    }

    pub(crate) fn magic(&mut self, magic: &[u8]) -> Result<(), FormatError> {
        if self.take(magic.len())? != magic {
            return Err(FormatError::Magic { what: self.what });
        }
        Ok(())
    }

    /// Reads a CRC32 and compares it with that of all bytes before it, from `start`.
    pub(crate) fn checksum_since(&mut self, start: usize) -> Result<(), FormatError> {
        let computed = crc32fast::hash(&self.bytes[start..self.at]);
        let found = self.u32()?;
        if found != computed {
            return Err(FormatError::Checksum { what: self.what, found, computed });
        }
        Ok(())
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn finish(self) -> Result<(), FormatError> {
        if self.remaining() != 0 {
            return Err(FormatError::invalid(
                self.what,
                format!("{} bytes follow its end", self.remaining()),
            ));
        }
        Ok(())
    }
}

/// Refuses a value above its limit.
pub(crate) fn limited(what: &'static str, found: u64, limit: u64) -> Result<u64, FormatError> {
    if found > limit {
        return Err(FormatError::Limit { what, found, limit });
    }
    Ok(found)
}
