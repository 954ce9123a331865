//! What a reader saw last, to be remembered elsewhere: a store can bring back an older state
//! of everything, and nothing in the repository tells.
//!
//! ```text
//! settings@3                                     the settings have at least this number
//! 0123456789abcdef0123456789abcdef               this backup is there
//! fedcba9876543210fedcba9876543210@16/B374D848   this stream goes at least so far
//! ```

use super::Repository;
use crate::{Error, ErrorKind, Lsn, Result};
use pgkeep_format::id::{BackupId, SeriesId};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

const SETTINGS: &str = "settings";

/// One thing that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Head {
    /// The number of the settings.
    Settings(u32),
    /// A backup: the newest.
    Backup(BackupId),
    /// How far a change stream goes.
    Stream(SeriesId, Lsn),
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(number) => write!(f, "{SETTINGS}@{number}"),
            Self::Backup(id) => id.fmt(f),
            Self::Stream(stream, lsn) => write!(f, "{stream}@{lsn}"),
        }
    }
}

impl FromStr for Head {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = match text.split_once('@') {
            Some((SETTINGS, number)) => number.parse().ok().map(Self::Settings),
            Some((stream, lsn)) => SeriesId::parse(stream)
                .ok()
                .and_then(|stream| Some(Self::Stream(stream, lsn.parse().ok()?))),
            None => BackupId::parse(text).ok().map(Self::Backup),
        };
        parsed.ok_or_else(|| {
            let message = format!("\"{}\" is no head", text.escape_debug());
            Error::new(ErrorKind::Usage, message)
                .hint("Give what pgkeep list prints: settings@N, a whole backup id, STREAM@LSN")
        })
    }
}

impl Repository {
    /// What is to be remembered of this repository: its settings, its newest backup, and how
    /// far each change stream goes.
    ///
    /// # Errors
    /// [`ErrorKind::Store`].
    pub async fn head(&self) -> Result<Vec<Head>> {
        let backups = self.backups().await?;
        self.head_with(backups.good.last().map(|backup| backup.clear.id)).await
    }

    /// As [`Repository::head`], where the newest backup is known.
    ///
    /// # Errors
    /// [`ErrorKind::Store`].
    pub async fn head_with(&self, newest: Option<BackupId>) -> Result<Vec<Head>> {
        let mut head = vec![Head::Settings(self.settings_number())];
        head.extend(newest.map(Head::Backup));
        let names = self.segment_names(None).await?;
        let streams: BTreeSet<SeriesId> = names.iter().map(|name| name.stream).collect();
        for stream in streams {
            head.extend(self.end_of(stream).await?.map(|end| Head::Stream(stream, end)));
        }
        Ok(head)
    }

    /// How far a stream goes, by its last segment whose signature is good: anybody who can
    /// write to the store can make names.
    async fn end_of(&self, stream: SeriesId) -> Result<Option<Lsn>> {
        let mut names = self.segment_names(Some(stream)).await?;
        names.sort_unstable_by_key(|name| name.last);
        for name in names.into_iter().rev() {
            match self.segment(name).await {
                Ok(segment) => return Ok(Some(Lsn(segment.clear.last))),
                Err(error) if error.is_of_store() => return Err(error),
                Err(error) => tracing::warn!("segment is passed over: {error:?}"),
            }
        }
        Ok(None)
    }

    /// Compares what was seen before with what is there.
    ///
    /// # Errors
    /// [`ErrorKind::RolledBack`] when something of it is not there, or only older;
    /// [`ErrorKind::Store`].
    pub async fn expect(&self, heads: &[Head]) -> Result<()> {
        for head in heads {
            let missing = match *head {
                Head::Settings(number) => {
                    let now = self.settings_number();
                    (now < number).then(|| format!("settings have number {now}, not {number}"))
                }
                Head::Backup(id) => match self.backup(id).await {
                    Ok(_) => None,
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        Some(format!("backup {id} is not there"))
                    }
                    Err(error) => return Err(error),
                },
                Head::Stream(stream, lsn) => match self.end_of(stream).await? {
                    Some(end) if end >= lsn => None,
                    Some(end) => {
                        Some(format!("change stream {stream} ends at {end}, before {lsn}"))
                    }
                    None => Some(format!("change stream {stream} is not there")),
                },
            };
            if let Some(what) = missing {
                let message = format!("repository is older than what was seen before: {what}");
                return Err(Error::new(ErrorKind::RolledBack, message)
                    .hint("Somebody put an older state back, or removed what is missing.")
                    .hint("Where it was removed on purpose, expect what pgkeep list prints now."));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_back_what_it_prints() {
        for head in [
            Head::Settings(3),
            Head::Backup(BackupId([1; 16])),
            Head::Stream(SeriesId([2; 16]), Lsn(0x16_b374_d848)),
        ] {
            assert_eq!(head.to_string().parse::<Head>().unwrap(), head);
        }
        for text in ["", "latest", "settings@", "settings@x", "01@0/1", &"0".repeat(31)] {
            assert_eq!(text.parse::<Head>().unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
    }
}
