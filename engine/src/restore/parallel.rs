//! How many parallel workers the server may take for an index or key.
//!
//! PostgreSQL takes as many as it is set to for each, whatever other connections do. Where there
//! are fewer processors than that, they slow down the index that all wait for: a whole restore by
//! a tenth (docs/performance.md). On the machine that the restore runs on they get the processors
//! that nobody keeps busy. How many another machine has nobody tells; it does as it is set to.

use crate::Result;
use crate::postgres::{Settings, WireSession, only};
use std::num::NonZeroUsize;

/// Where a step is less work the server takes no workers for certain: it wants a table of 8 MB
/// (`min_parallel_table_scan_size`), and a B-tree is a quarter of its rows' work.
pub(super) const WORK_MIN: u64 = 1 << 20;

/// The processors of the server's machine.
#[derive(Debug)]
pub(super) struct Processors {
    /// Absent where nobody knows.
    all: Option<usize>,
    /// Connections that are at work, and workers that they may have.
    busy: usize,
}

impl Processors {
    /// Those of the server of these settings: known where it is reached by a Unix socket.
    pub(super) fn of(settings: &Settings) -> Self {
        let count = std::thread::available_parallelism().ok().map(NonZeroUsize::get);
        Self { all: count.filter(|_| settings.is_local()), busy: 0 }
    }

    pub(super) fn are_known(&self) -> bool {
        self.all.is_some()
    }

    /// A connection begins to work.
    pub(super) fn take(&mut self) {
        self.busy += 1;
    }

    /// Those that are free, `most` of them, for the workers of a connection.
    pub(super) fn lend(&mut self, most: usize) -> usize {
        let free = self.all.unwrap_or(usize::MAX).saturating_sub(self.busy);
        self.busy += free.min(most);
        free.min(most)
    }

    /// Takes back a connection's own, or those of its workers.
    pub(super) fn give(&mut self, count: usize) {
        self.busy -= count;
    }
}

/// The parallel workers that a session may have.
#[derive(Debug, Default)]
pub(super) struct Workers {
    /// How many the server is set to, and how many the session was told; absent until asked.
    known: Option<(usize, usize)>,
}

impl Workers {
    /// The most that the server is set to.
    pub(super) async fn most(&mut self, wire: &mut WireSession) -> Result<usize> {
        if let Some((most, _)) = self.known {
            return Ok(most);
        }
        let sql = "SELECT pg_catalog.current_setting('max_parallel_maintenance_workers') AS most";
        let rows = wire.query(sql).await?;
        let row = only(&rows)?;
        let most = row.parse("most")?;
        self.known = Some((most, most));
        Ok(most)
    }

    /// Tells the session how many it may have.
    pub(super) async fn tell(&mut self, wire: &mut WireSession, count: usize) -> Result<()> {
        if let Some((_, told)) = &mut self.known
            && *told != count
        {
            *told = count;
            wire.execute(&format!("SET max_parallel_maintenance_workers = {count}")).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_get_the_processors_that_nobody_keeps_busy() {
        let mut processors = Processors { all: Some(4), busy: 0 };
        processors.take();
        processors.take();
        assert_eq!(processors.lend(8), 2);
        assert_eq!(processors.lend(8), 0);
        processors.take();
        processors.give(2);
        assert_eq!(processors.lend(8), 1);
        processors.give(1 + 1);
        assert_eq!(processors.lend(1), 1);
    }
}
