//! New copies of tables whose rows the stream does not have: a command rewrote or filled them, and
//! they were too many to be written into the WAL once more. The server remembers which ones
//! (`pgkeep.rewritten`) until there is a copy: a small backup of its own, which joins the stream as
//! any backup does. Who runs the stream takes it, beside the stream.

use super::watch::Watch;
use crate::postgres::qualified;
use crate::{Error, ErrorKind, Lsn, Result};
use async_trait::async_trait;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long after a copy that failed the next one is tried.
const RETRY_WAIT: Duration = Duration::from_secs(60);

/// Takes copies of tables.
#[async_trait]
pub trait TableCopier: Send + Sync {
    /// Backs up the rows of tables, schema and name, as a copy
    /// ([`SealedPart::copied_tables`](pgkeep_format::manifest::SealedPart::copied_tables)); returns
    /// its consistent point.
    async fn copy(&self, tables: &[(String, String)]) -> Result<u64>;
}

/// A table whose rows are to be copied.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Rewritten {
    pub(super) table: u32,
    /// The transaction after which its rows are not known.
    pub(super) xid: u64,
    pub(super) schema: String,
    pub(super) name: String,
}

impl Rewritten {
    fn title(&self) -> String {
        qualified(&self.schema, &self.name)
    }
}

/// The copies of one connection.
pub(super) struct Copies {
    copier: Arc<dyn TableCopier>,
    running: Option<JoinHandle<Done>>,
    /// Copied already, should the server still remember them.
    copied: HashSet<(u32, u64)>,
    /// Not before, after one that failed.
    not_before: Option<Instant>,
}

/// A copy that ended.
pub(super) struct Done {
    tables: Vec<Rewritten>,
    outcome: Result<u64>,
}

impl Copies {
    pub(super) fn new(copier: Arc<dyn TableCopier>) -> Self {
        Self { copier, running: None, copied: HashSet::new(), not_before: None }
    }

    /// Whether a copy is being taken, or is to be taken at once.
    pub(super) fn is_busy(&self, rewritten: &[Rewritten]) -> bool {
        self.running.is_some() || (self.not_before.is_none() && self.wanted(rewritten).is_some())
    }

    fn wanted(&self, rewritten: &[Rewritten]) -> Option<Vec<Rewritten>> {
        let is_new = |one: &&Rewritten| !self.copied.contains(&(one.table, one.xid));
        let wanted: Vec<_> = rewritten.iter().filter(is_new).cloned().collect();
        (!wanted.is_empty()).then_some(wanted)
    }

    /// Begins a copy of what was rewritten, if none is being taken; what is to be told of it.
    pub(super) fn begin(&mut self, rewritten: &[Rewritten]) -> Option<String> {
        if self.running.is_some() || self.not_before.is_some_and(|at| at > Instant::now()) {
            return None;
        }
        let tables = self.wanted(rewritten)?;
        let titles = tables.iter().map(Rewritten::title).collect::<Vec<_>>().join(", ");
        let mut names: Vec<_> =
            tables.iter().map(|one| (one.schema.clone(), one.name.clone())).collect();
        names.sort();
        names.dedup();
        let copier = self.copier.clone();
        self.running = Some(tokio::spawn(async move {
            let outcome = copier.copy(&names).await;
            Done { tables, outcome }
        }));
        Some(format!("copying {titles} anew: a command rewrote or filled it"))
    }

    /// Waits for the copy that is being taken; for ever where there is none.
    pub(super) async fn done(&mut self) -> Result<Done> {
        let Some(task) = &mut self.running else { return std::future::pending().await };
        let done = task.await;
        self.running = None;
        done.map_err(|error| {
            Error::new(ErrorKind::Internal, "copying a table did not end").because(error)
        })
    }

    /// Notes what became of a copy. The consistent point of one that is good, and how many tables
    /// it has; else what is to be told.
    pub(super) async fn ended(
        &mut self,
        done: Done,
        watch: &Watch,
    ) -> std::result::Result<(Lsn, u64), String> {
        let Done { tables, outcome } = done;
        match outcome {
            Ok(lsn) => {
                self.not_before = None;
                self.copied.extend(tables.iter().map(|one| (one.table, one.xid)));
                if let Err(error) = watch.forget_rewritten(&tables).await {
                    // It is only copied once more, by a later stream.
                    tracing::warn!("{error:?}");
                }
                Ok((Lsn(lsn), tables.len() as u64))
            }
            Err(error) => {
                tracing::warn!("{error:?}");
                self.not_before = Some(Instant::now() + RETRY_WAIT);
                let titles = tables.iter().map(Rewritten::title).collect::<Vec<_>>().join(", ");
                Err(format!(
                    "could not copy {titles} anew ({error}): until the next backup it cannot be \
                     restored to a moment"
                ))
            }
        }
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        if let Some(task) = &self.running {
            task.abort();
        }
    }
}
