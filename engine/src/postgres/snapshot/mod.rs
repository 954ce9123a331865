//! One view of the database for many connections: the coordinator's transaction, whose
//! snapshot every worker imports.
//!
//! A [`Coordinator`] is connected and not in a transaction; it becomes the [`Snapshot`] by
//! locking tables first and looking at them afterwards. As long as a [`Snapshot`] is open its
//! session is in a read-only transaction, holds the locks that were asked for, and keeps the
//! server from removing rows that it can see.

mod lock;
mod privileges;
mod rewritten;
mod standby;
mod visible;

use super::settings::Settings;
use super::{Session, WireSession, literal, only};
use crate::{Error, ErrorKind, Result};
use standby::Held;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
pub use visible::Visible;

/// What pg_dump sets as well, and a little more: the text of a value must be the same
/// whatever the role's own settings are, timeouts must not end a long read, a row policy must be
/// an error and not a smaller backup, and rows must come in the order in which they lie.
const SESSION_SETTINGS: &str = "
    SET search_path = '';
    SET DateStyle = ISO;
    SET IntervalStyle = postgres;
    SET TimeZone = 'UTC';
    SET bytea_output = hex;
    SET extra_float_digits = 3;
    SET client_encoding = 'UTF8';
    SET standard_conforming_strings = on;
    SET xmloption = content;
    SET quote_all_identifiers = off;
    SET synchronize_seqscans = off;
    SET max_parallel_workers_per_gather = 0;
    SET jit = off;
    SET row_security = off;
    SET statement_timeout = 0;
    SET lock_timeout = 0;
    SET idle_in_transaction_session_timeout = 0;
    SET idle_session_timeout = 0;";

/// Only system views and functions may be expanded while catalogs are read: a view in the
/// place of a table must not run its owner's code as us. Servers have it since the minor
/// releases of August 2024.
const RESTRICT_KINDS: &str = "
    SELECT pg_catalog.set_config(name, '{}', false)
    FROM pg_catalog.pg_settings WHERE name = 'restrict_nonsystem_relation_kind';";

/// Workers see the same snapshot in a plain transaction, as `pg_dump`'s do.
const BEGIN_DEFERRABLE: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE";

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// How a snapshot is taken and read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotOptions {
    /// One that another session exported and holds, instead of one's own.
    pub exported: Option<String>,
    /// Waits for a moment at which no serializable transaction can see an anomaly
    /// (`SERIALIZABLE READ ONLY DEFERRABLE`).
    pub serializable_deferrable: bool,
    /// Reads the rows that row security shows to the role; without, it is an error that it
    /// hides some.
    pub row_security: bool,
    /// Reads rows of foreign tables.
    pub foreign_tables: bool,
    /// How many sessions will join at the most: those of a standby take their snapshots together.
    pub readers: usize,
}

impl SnapshotOptions {
    /// What every session of a backup is told.
    fn session_settings(&self, major: u32) -> String {
        let timeout = if major >= 17 { "\n    SET transaction_timeout = 0;" } else { "" };
        let row_security = if self.row_security { "\n    SET row_security = on;" } else { "" };
        let restricted = if self.foreign_tables { "view" } else { "view, foreign-table" };
        let restrict = RESTRICT_KINDS.replace("{}", restricted);
        format!("{SESSION_SETTINGS}{timeout}{row_security}{restrict}")
    }
}

/// The session whose snapshot all others will share, before it has one.
pub struct Coordinator {
    session: Session,
    options: SnapshotOptions,
    is_standby: bool,
}

impl Coordinator {
    /// Connects, with all settings that the sessions of a backup have.
    ///
    /// # Errors
    /// As [`Session::connect`] and [`Session::query`].
    pub async fn connect(settings: &Settings, options: &SnapshotOptions) -> Result<Self> {
        let session = Session::connect(settings, "backup").await?;
        session.execute(&options.session_settings(session.major())).await?;
        let is_standby = standby::is_standby(&session).await?;
        Ok(Self { session, options: options.clone(), is_standby })
    }

    /// The session, in no transaction: each query sees what is committed by then.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Locks tables (schema, name) against being changed or dropped, in `ACCESS SHARE` mode,
    /// until the snapshot is closed, then takes the snapshot that all will share. In this order
    /// no command can rewrite or truncate a table between the two: of such a table an older
    /// snapshot sees no row (PostgreSQL, "Caveats" of MVCC), and nobody is told. Each lock
    /// may take `timeout`; zero is no limit. The position in the WAL is that of now, also
    /// where the snapshot was there before.
    ///
    /// # Errors
    /// [`ErrorKind::LockTimeout`], naming who is in the way; [`ErrorKind::Privilege`], naming
    /// every table that the role may not read; [`ErrorKind::Changed`] when a table is gone, or
    /// was rewritten since the exported snapshot was taken, or a standby's sessions cannot share
    /// what they see now; else as [`Session::execute`].
    pub async fn lock_and_look(
        self,
        tables: &[(String, String)],
        timeout: Duration,
    ) -> Result<Snapshot> {
        let Self { session, options, is_standby } = self;
        privileges::check(&session, tables).await?;
        let begin = if options.serializable_deferrable { BEGIN_DEFERRABLE } else { BEGIN };
        session.execute(begin).await?;
        let cancel = session.cancel();
        for batch in lock::batches(tables) {
            let settings = session.settings();
            let wait = lock::Wait { settings, backend: session.backend(), batch, timeout };
            wait.run(session.execute(&lock::sql(batch)), &cancel).await?;
        }
        let snapshot = match (&options.exported, is_standby) {
            (Some(name), _) => {
                session.execute(&format!("SET TRANSACTION SNAPSHOT {}", literal(name))).await?;
                let seen = look(&session).await?;
                let replayed = is_standby.then_some(REPLAYED_UNKNOWN);
                Snapshot { replayed, ..Snapshot::exported(session, options, seen).await? }
            }
            (None, false) => {
                let seen = look(&session).await?;
                Snapshot::exported(session, options, seen).await?
            }
            (None, true) => Snapshot::of_standby(session, options).await?,
        };
        rewritten::check(&snapshot.session, tables).await?;
        Ok(snapshot)
    }
}

/// A snapshot with the session that holds it.
pub struct Snapshot {
    session: Session,
    options: SnapshotOptions,
    shared: Shared,
    seen: Seen,
    replayed: Option<u64>,
}

/// How others come to see the same.
enum Shared {
    /// By its name.
    Exported(String),
    /// They took theirs at the same moment, and wait to be asked for.
    Taken(Mutex<Vec<WireSession>>),
}

/// Of a standby whose snapshot another session exported: what exactly it sees nobody knows.
const REPLAYED_UNKNOWN: u64 = 0;

impl Snapshot {
    /// Takes a snapshot without locks.
    ///
    /// # Errors
    /// As [`Coordinator::connect`] and [`Coordinator::lock_and_look`].
    pub async fn open(settings: &Settings, options: &SnapshotOptions) -> Result<Self> {
        Coordinator::connect(settings, options).await?.lock_and_look(&[], Duration::ZERO).await
    }

    async fn exported(session: Session, options: SnapshotOptions, seen: Seen) -> Result<Self> {
        let rows = session.query("SELECT pg_catalog.pg_export_snapshot() AS name").await?;
        let name = only(&rows)?.text("name")?.to_owned();
        Ok(Self { session, options, shared: Shared::Exported(name), seen, replayed: None })
    }

    /// Each session takes its own while replay stands still. Where that cannot be, a snapshot is
    /// as good that finds no transaction running: nothing can be lost of it.
    async fn of_standby(session: Session, options: SnapshotOptions) -> Result<Self> {
        let mut readers = Vec::with_capacity(options.readers);
        for _ in 0..options.readers {
            readers.push(begun(&session, &options).await?);
        }
        let Some(held) = Held::begin(session.settings()).await? else {
            let seen = look(&session).await?;
            return match seen.sees_none_running() {
                true => Self::exported(session, options, seen).await,
                false => Err(standby::cannot_share()),
            };
        };
        let seen = look(&session).await?;
        for reader in &mut readers {
            reader.execute("SELECT 1").await?;
        }
        held.end().await?;
        let replayed = Some(seen.lsn);
        let shared = Shared::Taken(Mutex::new(readers));
        Ok(Self { session, options, shared, seen, replayed })
    }

    /// The coordinator's session, in its transaction; for reading catalogs.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// `pg_current_snapshot()`: the transactions it sees. This, not [`Snapshot::lsn`], says
    /// exactly which commits are part of it; but on a standby it leaves out those that were
    /// in progress on the primary: see [`Snapshot::replayed`].
    #[must_use]
    pub fn xids(&self) -> &str {
        &self.seen.xids
    }

    /// The position in the WAL when the snapshot was taken, read right after it. Commits
    /// near it may be on either side: [`Snapshot::xids`] tells.
    #[must_use]
    pub fn lsn(&self) -> u64 {
        self.seen.lsn
    }

    /// The first transaction that may have run when the snapshot was taken, 64 bits: it sees how
    /// all before ended.
    ///
    /// # Errors
    /// [`ErrorKind::Server`] when the server's snapshot is in a form that is not known.
    pub fn least_running(&self) -> Result<u64> {
        let visible = Visible::parse(&self.seen.xids).map_err(|error| {
            Error::new(ErrorKind::Server, "server took a snapshot that is none").because(error)
        })?;
        Ok(visible.least_running())
    }

    /// Of a standby with transactions in progress: the position in the WAL up to which exactly it
    /// had replayed, and the snapshot sees all that committed; 0 where that is not known. Else
    /// absent: [`Snapshot::xids`] tells all.
    #[must_use]
    pub fn replayed(&self) -> Option<u64> {
        self.replayed
    }

    /// The timeline of the WAL that [`Snapshot::lsn`] is a position of; 0 where the role may
    /// not ask.
    #[must_use]
    pub fn timeline(&self) -> u32 {
        self.seen.timeline
    }

    /// Opens a session for bulk rows on the same server that sees the same snapshot.
    ///
    /// # Errors
    /// As [`WireSession::connect`] and [`WireSession::execute`]; [`ErrorKind::Internal`] when
    /// more join a standby's than [`SnapshotOptions::readers`] said.
    pub async fn join(&self) -> Result<WireSession> {
        let name = match &self.shared {
            Shared::Exported(name) => name,
            Shared::Taken(readers) => {
                let reader = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
                return reader.ok_or_else(|| {
                    Error::new(ErrorKind::Internal, "more sessions join than were announced")
                });
            }
        };
        let mut wire = begun(&self.session, &self.options).await?;
        let sql = format!("SET TRANSACTION SNAPSHOT {}", literal(name));
        wire.execute(&sql).await.map_err(|error| {
            Error::new(error.kind(), "could not join the backup's snapshot")
                .hint("Connect to the server itself, not through a pooler or load balancer.")
                .because(error)
        })?;
        Ok(wire)
    }

    /// Locks tables as [`Coordinator::lock_and_look`] does, in a worker's session.
    ///
    /// # Errors
    /// As [`Coordinator::lock_and_look`]; rights are not asked for again.
    pub async fn lock_on(
        &self,
        wire: &mut WireSession,
        tables: &[(String, String)],
        timeout: Duration,
    ) -> Result<()> {
        let (settings, cancel, backend) = (self.session.settings(), wire.cancel(), wire.backend());
        for batch in lock::batches(tables) {
            let wait = lock::Wait { settings, backend, batch, timeout };
            wait.run(wire.execute(&lock::sql(batch)), &cancel).await?;
        }
        Ok(())
    }

    /// Ends the transaction, which frees the locks, and closes the session.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] when the session was lost meanwhile.
    pub async fn close(mut self) -> Result<()> {
        self.session.execute("COMMIT").await?;
        self.session.close().await;
        Ok(())
    }
}

/// A session for bulk rows on the coordinator's server, in a transaction that has no snapshot yet.
async fn begun(coordinator: &Session, options: &SnapshotOptions) -> Result<WireSession> {
    let mut wire = WireSession::connect(coordinator.settings(), "backup").await?;
    wire.execute(&options.session_settings(coordinator.major())).await?;
    wire.execute(BEGIN).await?;
    Ok(wire)
}

/// What a snapshot sees, and where in the WAL its server is.
struct Seen {
    /// `pg_current_snapshot()`.
    xids: String,
    lsn: u64,
    timeline: u32,
}

impl Seen {
    /// Whether no transaction was running: on a standby, too, xmin is then xmax.
    fn sees_none_running(&self) -> bool {
        let mut parts = self.xids.split(':');
        parts.next() == parts.next()
    }
}

/// Takes the snapshot of the session's transaction, if it has none yet.
async fn look(session: &Session) -> Result<Seen> {
    let rows = session
        .query(
            "SELECT pg_catalog.pg_current_snapshot() AS xids, \
               CASE WHEN r.standby THEN pg_catalog.pg_last_wal_replay_lsn() \
                    ELSE pg_catalog.pg_current_wal_insert_lsn() END - '0/0' AS lsn, \
               CASE WHEN NOT r.standby THEN pg_catalog.substr( \
                   pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) \
               END AS timeline, \
               pg_catalog.has_function_privilege( \
                   'pg_catalog.pg_control_checkpoint()', 'EXECUTE') AS may_ask \
             FROM (SELECT pg_catalog.pg_is_in_recovery() AS standby) r",
        )
        .await?;
    let row = only(&rows)?;
    let timeline = match row.optional("timeline")? {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).map_err(|error| {
            Error::new(ErrorKind::Server, "server names WAL files in a way that is not known")
                .because(error)
        })?,
        // A standby does not name files; an error would end the transaction.
        None if row.bool("may_ask")? => {
            let sql = "SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()";
            only(&session.query(sql).await?)?.parse("timeline_id")?
        }
        None => 0,
    };
    Ok(Seen { xids: row.text("xids")?.to_owned(), lsn: row.parse("lsn")?, timeline })
}
