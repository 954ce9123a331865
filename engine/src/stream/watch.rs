//! What is asked of the server beside the stream: its clock and position, its sequences, and
//! how much WAL the slot keeps from being removed.

use crate::postgres::{Row, Session, Settings, literal};
use crate::{Error, ErrorKind, Lsn, Result};
use pgkeep_format::segment::SequenceState;

/// Asks on a session of its own.
pub(super) struct Watch {
    session: Session,
    slot: String,
    publication: String,
}

/// What the server says at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    /// How far WAL is written.
    pub(super) written: Lsn,
    /// By its clock, microseconds since 1970 UTC.
    pub(super) time: i64,
    /// Where sequences stand.
    pub(super) sequences: Vec<SequenceState>,
    /// OIDs of tables whose changes are not published, ascending.
    pub(super) unpublished: Vec<u32>,
    /// The slot.
    pub(super) slot: Option<SlotState>,
}

/// What captures changes of definitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Capture {
    /// Tells its messages from those of others.
    pub(super) token: String,
    /// The transaction that installed it.
    pub(super) installed: u64,
}

/// How a slot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SlotState {
    /// What the server may forget.
    pub(super) confirmed: Lsn,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub(super) wal_status: String,
    /// Bytes of WAL that it keeps from being removed.
    pub(super) retained_bytes: u64,
    /// Bytes that may still be written before WAL that it needs is removed; absent without a
    /// limit (`max_slot_wal_keep_size`).
    pub(super) safe_bytes: Option<i64>,
    /// The process that streams it.
    pub(super) active_pid: Option<u32>,
}

impl Watch {
    pub(super) async fn open(settings: &Settings, slot: &str, publication: &str) -> Result<Self> {
        let session = Session::connect(settings, "stream").await?;
        session.execute("SET search_path = ''; SET statement_timeout = 0").await?;
        Ok(Self { session, slot: slot.to_owned(), publication: publication.to_owned() })
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// What captures changes of definitions; absent where that is not installed.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub(super) async fn capture(&self) -> Result<Option<Capture>> {
        let sql = "SELECT FROM pg_catalog.pg_class \
                   WHERE oid = pg_catalog.to_regclass('pgkeep.token')";
        if self.session.query(sql).await?.is_empty() {
            return Ok(None);
        }
        let rows = self.session.query("SELECT token, installed FROM pgkeep.token").await?;
        let capture = |row: &Row| {
            Ok(Capture { token: row.text("token")?.to_owned(), installed: row.parse("installed")? })
        };
        rows.first().map(capture).transpose()
    }

    /// Asks for all of it at once.
    pub(super) async fn sample(&self) -> Result<Sample> {
        // The position is read before the sequences: what they give out later is later.
        let rows = self
            .session
            .query(
                "SELECT pg_catalog.pg_current_wal_insert_lsn() - '0/0' AS written, \
                 (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::pg_catalog.int8 \
                   AS time",
            )
            .await?;
        let row = rows.first().ok_or_else(no_row)?;
        let (written, time) = (Lsn(row.parse("written")?), row.parse("time")?);
        let slot = self.slot().await?;
        let sequences = self.sequences().await?;
        let unpublished = self.unpublished().await?;
        Ok(Sample { written, time, sequences, unpublished, slot })
    }

    async fn unpublished(&self) -> Result<Vec<u32>> {
        let rows = self
            .session
            .query(&format!(
                "SELECT c.oid FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind = 'r' AND c.relpersistence <> 't' \
                 AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgkeep') \
                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_publication_tables p \
                   WHERE p.pubname = {} AND p.schemaname = n.nspname \
                   AND p.tablename = c.relname) \
                 ORDER BY c.oid",
                literal(&self.publication)
            ))
            .await?;
        rows.iter().map(|row| row.parse("oid")).collect()
    }

    async fn sequences(&self) -> Result<Vec<SequenceState>> {
        let rows = self
            .session
            .query(
                "SELECT schemaname, sequencename, last_value, \
                   pg_catalog.format('%I.%I', schemaname, sequencename) \
                     ::pg_catalog.regclass::pg_catalog.oid AS oid \
                 FROM pg_catalog.pg_sequences \
                 WHERE last_value IS NOT NULL ORDER BY schemaname, sequencename",
            )
            .await?;
        let state = |row: &Row| {
            Ok(SequenceState {
                schema: row.text("schemaname")?.to_owned(),
                name: row.text("sequencename")?.to_owned(),
                last_value: row.parse("last_value")?,
                is_called: true,
                oid: row.parse("oid")?,
            })
        };
        rows.iter().map(state).collect()
    }

    /// How the slot is; absent when there is none of its name.
    ///
    /// # Errors
    /// As [`Session::query`]; [`ErrorKind::AlreadyExists`] when one of its name is of another
    /// database or plugin.
    pub(super) async fn slot(&self) -> Result<Option<SlotState>> {
        let rows = self
            .session
            .query(&format!(
                "SELECT s.plugin = 'pgoutput' \
                     AND s.database = pg_catalog.current_database() AS is_ours, \
                   coalesce(s.confirmed_flush_lsn, '0/0') - '0/0' AS confirmed, \
                   coalesce(s.wal_status, 'lost') AS wal_status, s.active_pid, \
                   s.safe_wal_size, \
                   greatest(0, pg_catalog.pg_current_wal_lsn() - s.restart_lsn) \
                     AS retained \
                 FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = {}",
                literal(&self.slot)
            ))
            .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        if row.optional("is_ours")?.is_none_or(|ours| ours != "t") {
            let message =
                format!("replication slot \"{}\" is of another database or purpose", self.slot);
            return Err(
                Error::new(ErrorKind::AlreadyExists, message).hint("Name another one: --slot NAME")
            );
        }
        let number = |name| -> Result<Option<i64>> {
            row.optional(name)?.map(|_| row.parse(name)).transpose()
        };
        Ok(Some(SlotState {
            confirmed: Lsn(row.parse("confirmed")?),
            wal_status: row.text("wal_status")?.to_owned(),
            retained_bytes: row.optional("retained")?.map_or(Ok(0), |_| row.parse("retained"))?,
            safe_bytes: number("safe_wal_size")?,
            active_pid: row.optional("active_pid")?.map(|_| row.parse("active_pid")).transpose()?,
        }))
    }

    pub(super) async fn close(mut self) {
        self.session.close().await;
    }
}

fn no_row() -> Error {
    Error::new(ErrorKind::Server, "server returned no row")
}
