//! The sessions that a restore works on: opened as they are needed, told what every restoring
//! session is told, used again.
//!
//! With a single transaction there is one session, and what would be a transaction elsewhere
//! is a savepoint. Dropped before [`Sessions::finish`], it leaves nothing behind.

use super::refusal::is_refusal;
use super::rename::Rename;
use super::{ROWS_ALONE, SESSION_SETTINGS};
use crate::postgres::{Settings, WireSession};
use crate::{Error, ErrorKind, Result};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How sessions are to be.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    /// Whether rows come in without triggers and foreign keys.
    pub(super) rows_alone: bool,
    /// How long a statement waits for a lock; absent for ever.
    pub(super) lock_timeout: Option<Duration>,
    /// Everything in one transaction.
    pub(super) single_transaction: bool,
}

/// The sessions of a restore.
pub(super) struct Sessions {
    settings: Settings,
    manner: Manner,
    rename: Rename,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// One that is connected, and told nothing.
    first: Option<WireSession>,
    sessions: Vec<WireSession>,
    opened: usize,
}

impl Sessions {
    /// `first` is a session that is connected already, where there is one.
    pub(super) fn new(
        settings: &Settings,
        manner: Manner,
        rename: &Rename,
        first: Option<WireSession>,
    ) -> Self {
        let (settings, rename) = (settings.clone(), rename.clone());
        let idle = Mutex::new(Idle { first, ..Idle::default() });
        Self { settings, manner, rename, idle }
    }

    /// How they reach the server.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many sessions may work side by side, of `jobs` that were asked for.
    pub(super) fn side_by_side(&self, jobs: usize) -> usize {
        // Under a schema's other name each statement is wrapped in renames, which exclude each
        // other: a second connection would only wait.
        if self.manner.single_transaction || !self.rename.is_none() { 1 } else { jobs }
    }

    /// A session to work on; [`Sessions::put`] gives it back.
    pub(super) async fn take(&self) -> Result<WireSession> {
        let first = {
            let mut idle = self.lock();
            if let Some(wire) = idle.sessions.pop() {
                return Ok(wire);
            }
            if self.manner.single_transaction && idle.opened > 0 {
                let message = "a second session was asked for within a single transaction";
                return Err(Error::new(ErrorKind::Internal, message));
            }
            idle.opened += 1;
            idle.first.take()
        };
        let mut wire = match first {
            Some(wire) => wire,
            None => WireSession::connect(&self.settings, "restore").await?,
        };
        wire.execute(SESSION_SETTINGS).await?;
        if self.manner.rows_alone {
            wire.execute(ROWS_ALONE).await?;
        }
        if let Some(timeout) = self.manner.lock_timeout {
            wire.execute(&format!("SET lock_timeout = {}", timeout.as_millis())).await?;
        }
        if self.manner.single_transaction {
            wire.execute("BEGIN").await?;
        }
        Ok(wire)
    }

    pub(super) fn put(&self, wire: WireSession) {
        self.lock().sessions.push(wire);
    }

    /// Begins a transaction, or a savepoint within the single one.
    pub(super) async fn begin(&self, wire: &mut WireSession) -> Result<()> {
        wire.execute(if self.manner.single_transaction { "SAVEPOINT pgkeep" } else { "BEGIN" })
            .await
    }

    /// Commits what went well and rolls back what the server refused; the session can be used
    /// again after both.
    pub(super) async fn end<T>(&self, wire: &mut WireSession, done: Result<T>) -> Result<T> {
        let (commit, roll_back) = if self.manner.single_transaction {
            ("RELEASE pgkeep", "ROLLBACK TO pgkeep; RELEASE pgkeep")
        } else {
            ("COMMIT", "ROLLBACK")
        };
        match done {
            Ok(value) => wire.execute(commit).await.map(|()| value),
            Err(error) if is_refusal(&error) => {
                wire.execute(roll_back).await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Runs the SQL of a backup, under the names of schemas that it has there.
    pub(super) async fn execute(&self, wire: &mut WireSession, sql: &str) -> Result<()> {
        if self.rename.is_none() {
            return wire.execute(sql).await;
        }
        self.execute_apart(wire, sql).await
    }

    /// The same, in a transaction or savepoint of its own: its refusal ends nothing else.
    pub(super) async fn execute_apart(&self, wire: &mut WireSession, sql: &str) -> Result<()> {
        self.begin(wire).await?;
        let done = self.execute_renamed(wire, sql).await;
        self.end(wire, done).await
    }

    async fn execute_renamed(&self, wire: &mut WireSession, sql: &str) -> Result<()> {
        self.rename.begin(wire).await?;
        wire.execute(sql).await?;
        self.rename.end(wire).await
    }

    /// Commits the single transaction and closes all sessions.
    pub(super) async fn finish(&self) -> Result<()> {
        let sessions = std::mem::take(&mut self.lock().sessions);
        for mut wire in sessions {
            if self.manner.single_transaction {
                wire.execute("COMMIT").await?;
            }
            wire.close().await;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
