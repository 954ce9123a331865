//! A standby whose replay is held for the moment in which several sessions take a snapshot, each its
//! own: as nothing is replayed meanwhile, they see the same, and it is known up to where.
//!
//! A snapshot that a standby exports will not do. Where a subtransaction was the first of its
//! transaction to write, or there were many, the standby counts its snapshots as overflowed, and
//! `pg_export_snapshot` leaves all running transactions out of such a one: what commits later, the
//! importing session sees. (`ExportSnapshot` in `snapmgr.c`, 14 to 18; `CopySnapshot` beside it keeps
//! them.) Nor does the snapshot's own text tell who was running on the primary.

use crate::postgres::{Session, Settings};
use crate::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Replay goes on after this, whatever became of us: the server runs what it was sent to its end,
/// and a request to cancel it only ends the sleep.
const HOLD: &str = "DO $$ BEGIN
    PERFORM pg_catalog.pg_wal_replay_pause();
    PERFORM pg_catalog.pg_sleep(10);
    PERFORM pg_catalog.pg_wal_replay_resume();
  EXCEPTION WHEN OTHERS OR query_canceled THEN
    PERFORM pg_catalog.pg_wal_replay_resume();
  END $$";

/// How long a server may take until replay stands still: it ends the record that it is at.
const STANDSTILL_LIMIT: Duration = Duration::from_secs(5);

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Replay that stands still.
pub(super) struct Held {
    /// Looks at the server, in no transaction.
    observer: Session,
    /// Absent where somebody else had paused it.
    by_us: Option<JoinHandle<Result<()>>>,
}

impl Held {
    /// Lets replay stand still; absent where the role may not or the server takes too long.
    pub(super) async fn begin(settings: &Settings) -> Result<Option<Self>> {
        let observer = Session::connect(settings, "backup").await?;
        if is_still(&observer).await? {
            return Ok(Some(Self { observer, by_us: None }));
        }
        let rows = observer
            .query(
                "SELECT pg_catalog.has_function_privilege( \
                   'pg_catalog.pg_wal_replay_pause()', 'EXECUTE') \
                 AND pg_catalog.has_function_privilege( \
                   'pg_catalog.pg_wal_replay_resume()', 'EXECUTE') AS may",
            )
            .await?;
        if !super::only(&rows)?.bool("may")? {
            return Ok(None);
        }
        let pausing = Session::connect(settings, "backup").await?;
        pausing
            .execute("SET statement_timeout = 0; SET client_connection_check_interval = 0")
            .await?;
        let held = tokio::spawn(async move { pausing.execute(HOLD).await });
        let deadline = Instant::now() + STANDSTILL_LIMIT;
        while !is_still(&observer).await? {
            if held.is_finished() || Instant::now() > deadline {
                observer.query("SELECT pg_catalog.pg_wal_replay_resume()").await?;
                held.abort();
                return Ok(None);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(Some(Self { observer, by_us: Some(held) }))
    }

    /// Lets replay go on.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] when it has gone on already.
    pub(super) async fn end(self) -> Result<()> {
        let Self { mut observer, by_us } = self;
        let was_still = is_still(&observer).await?;
        if let Some(held) = by_us {
            observer.query("SELECT pg_catalog.pg_wal_replay_resume()").await?;
            // Dropping the session cancels what it still runs.
            held.abort();
        }
        observer.close().await;
        match was_still {
            true => Ok(()),
            false => {
                let message = "replay went on while the snapshot was taken";
                Err(Error::new(ErrorKind::Changed, message).hint("Run the command again."))
            }
        }
    }
}

/// Whether replay stands still.
async fn is_still(session: &Session) -> Result<bool> {
    let sql = "SELECT pg_catalog.pg_get_wal_replay_pause_state() = 'paused' AS still";
    super::only(&session.query(sql).await?)?.bool("still")
}

/// Whether the server is a standby.
pub(super) async fn is_standby(session: &Session) -> Result<bool> {
    let sql = "SELECT pg_catalog.pg_is_in_recovery() AS standby";
    super::only(&session.query(sql).await?)?.bool("standby")
}

/// The error where replay cannot be held and the snapshot is not one that can be exported.
pub(super) fn cannot_share() -> Error {
    let message = "sessions on the standby cannot share a snapshot while transactions are in \
                   progress: the role may not hold replay for a moment";
    Error::new(ErrorKind::Changed, message)
        .hint(
            "On the primary: GRANT EXECUTE ON FUNCTION pg_wal_replay_pause(), \
             pg_wal_replay_resume(), to the role.",
        )
        .hint("Or back up the primary.")
}
