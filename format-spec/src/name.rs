//! Where objects lie in a repository: names with `/` between their parts, never used
//! twice.
//!
//! | name | object |
//! |---|---|
//! | `config/<number, 8 digits>` | settings, signed by the owner; the greatest number holds |
//! | `keys/<key id>-<CRC32 of the object>.age` | a key, wrapped for the recipients |
//! | `keys/<key id>-<CRC32 of the object>.key` | a key, plain (repository without encryption) |
//! | `packs/<two digits>/<pack id>` | frames |
//! | `indexes/<object id>` | where chunks lie; a cache |
//! | `backups/<backup id>` | a manifest |
//! | `changes/<two digits>/<pack id>` | frames of changes |
//! | `streams/<series id>/<first>-<last>-<object id>` | a segment of a change stream |
//! | `writers/<work>-<object id>-<beat, 8 hexadecimal digits>` | a lease: a writer is at work |
//! | `prunes/<object id>` | what a prune is about to remove |
//! | `vouchers/<object id>` | what a former writer had signed, by the owner's word |

use crate::FormatError;
use crate::id::{BackupId, KeyId, ObjectId, PackId, SeriesId};
use crate::limits;
use std::fmt;

/// The prefix of all configs.
pub const CONFIGS: &str = "config/";
/// The prefix of all keys.
pub const KEYS: &str = "keys/";
/// The prefix of all packs.
pub const PACKS: &str = "packs/";
/// The prefix of all indexes.
pub const INDEXES: &str = "indexes/";
/// The prefix of all manifests.
pub const BACKUPS: &str = "backups/";
/// The prefix of all change packs.
pub const CHANGES: &str = "changes/";
/// The prefix of all segments.
pub const STREAMS: &str = "streams/";
/// The prefix of all leases.
pub const WRITERS: &str = "writers/";
/// The prefix of all prune lists.
pub const PRUNES: &str = "prunes/";
/// The prefix of all vouchers.
pub const VOUCHERS: &str = "vouchers/";

/// The name of an object of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectName {
    /// Settings; from 1 up to 99,999,999.
    Config(u32),
    /// A key.
    Key(KeyName),
    /// A pack.
    Pack(PackId),
    /// An index.
    Index(ObjectId),
    /// A manifest.
    Backup(BackupId),
    /// A pack that holds changes.
    ChangePack(PackId),
    /// A segment.
    Segment(SegmentName),
    /// A lease.
    Lease(LeaseName),
    /// A prune list.
    PruneList(ObjectId),
    /// A voucher.
    Voucher(ObjectId),
}

/// The name of a lease. The one with beat 0 is there from a writer's begin to its end; those
/// with greater beats tell that it is still at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseName {
    /// What the writer writes.
    pub work: Work,
    /// The run of the writer.
    pub id: ObjectId,
    /// Counts up while it works.
    pub beat: u32,
}

/// The name of a segment: where in the WAL it begins and ends, in 16 hexadecimal digits
/// each, so that a listing tells which are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// The stream.
    pub stream: SeriesId,
    /// Where it begins.
    pub first: u64,
    /// Where it ends.
    pub last: u64,
    /// The segment.
    pub id: ObjectId,
}

/// The name of a key object; holds a checksum because an age file has none of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName {
    /// Which key is in it.
    pub id: KeyId,
    /// CRC32 of the object's bytes.
    pub checksum: u32,
    /// Whether the object is an age file.
    pub wrapped: bool,
}

/// What a writer writes while it holds a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// Packs of chunks, and what refers to chunks of them and of packs that were there.
    Chunks,
    /// Packs of changes, and segments that refer to them only.
    Changes,
}

impl ObjectName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when it is not exactly a name that `Display` writes.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let invalid =
            || FormatError::invalid("object name", format!("\"{}\"", text.escape_debug()));
        let (folder, rest) = text.split_once('/').ok_or_else(invalid)?;
        let name = match folder {
            "config" => Self::Config(decimal(rest).ok_or_else(invalid)?),
            "keys" => Self::Key(KeyName::parse(rest).ok_or_else(invalid)?),
            "packs" => Self::Pack(PackId::parse(rest.get(3..).ok_or_else(invalid)?)?),
            "indexes" => Self::Index(ObjectId::parse(rest)?),
            "backups" => Self::Backup(BackupId::parse(rest)?),
            "changes" => Self::ChangePack(PackId::parse(rest.get(3..).ok_or_else(invalid)?)?),
            "streams" => Self::Segment(SegmentName::parse(rest).ok_or_else(invalid)?),
            "writers" => Self::Lease(LeaseName::parse(rest).ok_or_else(invalid)?),
            "prunes" => Self::PruneList(ObjectId::parse(rest)?),
            "vouchers" => Self::Voucher(ObjectId::parse(rest)?),
            _ => return Err(invalid()),
        };
        if name.to_string() != text {
            return Err(invalid());
        }
        Ok(name)
    }
}

fn decimal(text: &str) -> Option<u32> {
    (text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
        .filter(|number| *number > 0)
}

/// Whether `text` could be the name of an object of this or a later version: at least two
/// parts of lower-case letters, digits, `-`, `_` and `.`, parted by `/`, none of which
/// begins with `.`. Such a name leads out of no folder; a reader passes over those that
/// [`ObjectName::parse`] refuses.
#[must_use]
pub fn is_well_formed(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
    };
    text.len() <= limits::NAME_LEN_MAX && text.contains('/') && text.split('/').all(is_part)
}

impl KeyName {
    fn parse(text: &str) -> Option<Self> {
        let (id, rest) = text.split_once('-')?;
        let (checksum, suffix) = rest.split_once('.')?;
        let wrapped = match suffix {
            "age" => true,
            "key" => false,
            _ => return None,
        };
        let checksum = u32::from_str_radix(checksum, 16).ok()?;
        Some(Self { id: KeyId::parse(id).ok()?, checksum, wrapped })
    }
}

impl SegmentName {
    fn parse(text: &str) -> Option<Self> {
        let (stream, rest) = text.split_once('/')?;
        let mut parts = rest.split('-');
        let lsn = |text: &str| u64::from_str_radix(text, 16).ok();
        let (first, last) = (lsn(parts.next()?)?, lsn(parts.next()?)?);
        let id = ObjectId::parse(parts.next()?).ok()?;
        Some(Self { stream: SeriesId::parse(stream).ok()?, first, last, id })
    }
}

impl LeaseName {
    fn parse(text: &str) -> Option<Self> {
        let (work, rest) = text.split_once('-')?;
        let (id, beat) = rest.split_once('-')?;
        let work = match work {
            "chunks" => Work::Chunks,
            "changes" => Work::Changes,
            _ => return None,
        };
        let beat = u32::from_str_radix(beat, 16).ok()?;
        Some(Self { work, id: ObjectId::parse(id).ok()?, beat })
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(number) => write!(f, "{CONFIGS}{number:08}"),
            Self::Key(key) => {
                let suffix = if key.wrapped { "age" } else { "key" };
                write!(f, "{KEYS}{}-{:08x}.{suffix}", key.id, key.checksum)
            }
            Self::Pack(id) => write!(f, "{PACKS}{:02x}/{id}", id.0[0]),
            Self::Index(id) => write!(f, "{INDEXES}{id}"),
            Self::Backup(id) => write!(f, "{BACKUPS}{id}"),
            Self::ChangePack(id) => write!(f, "{CHANGES}{:02x}/{id}", id.0[0]),
            Self::Segment(SegmentName { stream, first, last, id }) => {
                write!(f, "{STREAMS}{stream}/{first:016x}-{last:016x}-{id}")
            }
            Self::Lease(LeaseName { work, id, beat }) => {
                let work = match work {
                    Work::Chunks => "chunks",
                    Work::Changes => "changes",
                };
                write!(f, "{WRITERS}{work}-{id}-{beat:08x}")
            }
            Self::PruneList(id) => write!(f, "{PRUNES}{id}"),
            Self::Voucher(id) => write!(f, "{VOUCHERS}{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_what_it_prints() {
        let key = KeyName { id: KeyId([7; 16]), checksum: 0xab, wrapped: true };
        for name in [
            ObjectName::Config(12),
            ObjectName::Key(key),
            ObjectName::Key(KeyName { wrapped: false, ..key }),
            ObjectName::Pack(PackId([0xfe; 16])),
            ObjectName::Index(ObjectId([1; 16])),
            ObjectName::Backup(BackupId([2; 16])),
            ObjectName::ChangePack(PackId([3; 16])),
            ObjectName::Segment(SegmentName {
                stream: SeriesId([4; 16]),
                first: 1,
                last: u64::MAX,
                id: ObjectId([5; 16]),
            }),
            ObjectName::Lease(LeaseName { work: Work::Chunks, id: ObjectId([6; 16]), beat: 17 }),
            ObjectName::Lease(LeaseName {
                work: Work::Changes,
                id: ObjectId([6; 16]),
                beat: u32::MAX,
            }),
            ObjectName::PruneList(ObjectId([7; 16])),
            ObjectName::Voucher(ObjectId([6; 16])),
        ] {
            assert_eq!(ObjectName::parse(&name.to_string()), Ok(name));
        }
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let pack = ObjectName::Pack(PackId([1; 16])).to_string();
        for text in [
            "",
            "/",
            "config/1",
            "config/+0000001",
            "packs/../../etc/passwd",
            "packs/é",
            &pack.replace("/01/", "/02/"),
            &format!("{pack}/"),
            "backups/..",
            "tmp/x",
            "keys/07-00.age",
            "config/99999999999",
            "config/00000000",
            "streams/0/1-2-3",
            "writers/chunks-0-1",
            &format!("writers/chunks-{}-{:x}", ObjectId([1; 16]), 17),
            &format!("writers/rows-{}-{:08x}", ObjectId([1; 16]), 17),
            &format!("streams/{}/{:016x}-{:x}-{}", SeriesId([1; 16]), 1, 2, ObjectId([1; 16])),
            &format!("streams/../{:016x}-{:016x}-{}", 1, 2, ObjectId([1; 16])),
        ] {
            assert!(ObjectName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_of_a_later_version_is_well_formed_and_one_that_leads_out_is_not() {
        for text in ["streams/00/ab-1.seg", "writers/a_b"] {
            assert!(is_well_formed(text), "{text}");
        }
        let long = format!("a/{}", "b".repeat(limits::NAME_LEN_MAX - 1));
        for text in
            ["", "config", "/etc", "a//b", "a/", "a/../b", "a/.b", "A/b", "a/b\\c", "a/é", &long]
        {
            assert!(!is_well_formed(text), "{text}");
        }
    }
}
