//! A standby whose replay is held for the moment in which a snapshot is taken, so that it is known
//! exactly which commits the snapshot sees: all that were replayed, and no other. The snapshot's own
//! text does not tell, as it leaves out what was in progress on the primary.

use crate::postgres::{Session, Settings};
use crate::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Replay goes on after this even where we are no more: the server runs what it was sent to its end.
const HOLD: &str = "SELECT pg_catalog.pg_wal_replay_pause();
    SELECT pg_catalog.pg_sleep(10);
    SELECT pg_catalog.pg_wal_replay_resume()";

/// How long a server may take until replay stands still: it ends the record that it is at.
const STANDSTILL_LIMIT: Duration = Duration::from_secs(5);

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Replay that stands still.
pub(super) struct Held {
    /// Absent where somebody else had paused it.
    by_us: Option<JoinHandle<Result<()>>>,
}

impl Held {
    /// Lets replay stand still; absent where the role may not or the server takes too long.
    pub(super) async fn begin(session: &Session, settings: &Settings) -> Result<Option<Self>> {
        if is_still(session).await? {
            return Ok(Some(Self { by_us: None }));
        }
        let rows = session
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
        pausing.execute("SET statement_timeout = 0").await?;
        let held = tokio::spawn(async move { pausing.execute(HOLD).await });
        let deadline = Instant::now() + STANDSTILL_LIMIT;
        while !is_still(session).await? {
            if held.is_finished() || Instant::now() > deadline {
                session.query("SELECT pg_catalog.pg_wal_replay_resume()").await?;
                held.abort();
                return Ok(None);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(Some(Self { by_us: Some(held) }))
    }

    /// Lets replay go on.
    ///
    /// # Errors
    /// [`ErrorKind::Server`] when it has gone on already.
    pub(super) async fn end(self, session: &Session) -> Result<()> {
        let was_still = is_still(session).await?;
        if let Some(held) = self.by_us {
            session.query("SELECT pg_catalog.pg_wal_replay_resume()").await?;
            // Dropping the session cancels what it still runs.
            held.abort();
        }
        match was_still {
            true => Ok(()),
            false => {
                Err(Error::new(ErrorKind::Server, "replay went on while a snapshot was taken")
                    .hint("Run it again."))
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
