//! What is asked of the server beside the stream: its clock and position, its sequences, and
//! how much WAL the slot keeps from being removed.

use super::copies::Rewritten;
use crate::postgres::{Row, ServerError, Session, Settings, literal, only, qualified};
use crate::{Error, ErrorKind, Lsn, Result};
use pgkeep_format::segment::SequenceState;

/// Sequences at the most that are asked one by one: no row has a value of theirs, so that they are
/// behind nothing where they are not asked.
const UNCALLED_MAX: usize = 500;

/// How often sequences are asked for when others change them meanwhile.
const ATTEMPTS: u32 = 10;

/// Asks on a session of its own.
pub(super) struct Watch {
    session: Session,
    slot: String,
    publication: String,
    /// Whether the server remembers which tables the stream lacks rows of.
    remembers: bool,
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
    /// Tables whose rows the stream lacks and that were not copied since.
    pub(super) rewritten: Vec<Rewritten>,
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
        let sql = "SELECT FROM pg_catalog.pg_class \
                   WHERE oid = pg_catalog.to_regclass('pgkeep.rewritten')";
        let remembers = !session.query(sql).await?.is_empty();
        let (slot, publication) = (slot.to_owned(), publication.to_owned());
        Ok(Self { session, slot, publication, remembers })
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
        let row = only(&rows)?;
        let (written, time) = (Lsn(row.parse("written")?), row.parse("time")?);
        let slot = self.slot().await?;
        let sequences = self.sequences().await?;
        let unpublished = self.unpublished().await?;
        let rewritten = self.rewritten().await?;
        Ok(Sample { written, time, sequences, unpublished, rewritten, slot })
    }

    async fn rewritten(&self) -> Result<Vec<Rewritten>> {
        if !self.remembers {
            return Ok(Vec::new());
        }
        let sql = "SELECT r.relid, r.xid, n.nspname, c.relname FROM pgkeep.rewritten r \
                   JOIN pg_catalog.pg_class c ON c.oid = r.relid \
                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY r.relid, r.xid";
        let rows = self.session.query(sql).await?;
        let rewritten = |row: &Row| {
            Ok(Rewritten {
                table: row.parse("relid")?,
                xid: row.parse("xid")?,
                schema: row.text("nspname")?.to_owned(),
                name: row.text("relname")?.to_owned(),
            })
        };
        rows.iter().map(rewritten).collect()
    }

    /// Lets the server forget tables that were copied, and those that are gone.
    ///
    /// # Errors
    /// As [`Session::execute`], where the role may not.
    pub(super) async fn forget_rewritten(&self, copied: &[Rewritten]) -> Result<()> {
        let pairs = copied.iter().map(|one| format!("({}, '{}'::xid8)", one.table, one.xid));
        let pairs = pairs.collect::<Vec<_>>().join(", ");
        self.session
            .execute(&format!(
                "DELETE FROM pgkeep.rewritten WHERE (relid, xid) IN ({pairs}) \
                 OR NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = relid)"
            ))
            .await
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

    /// Looks again where a sequence is gone that was there when the query began.
    async fn sequences(&self) -> Result<Vec<SequenceState>> {
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            match self.sequences_once().await {
                Err(error) if attempts > 0 && ServerError::is_of_changed_definitions(&error) => {
                    tracing::debug!("{error:?}");
                }
                found => return found,
            }
        }
    }

    async fn sequences_once(&self) -> Result<Vec<SequenceState>> {
        let rows = self
            .session
            .query(
                "SELECT s.schemaname, s.sequencename, s.last_value, o.oid, \
                   pg_catalog.has_sequence_privilege(o.oid, 'SELECT') AS readable \
                 FROM pg_catalog.pg_sequences s, LATERAL (SELECT \
                   pg_catalog.format('%I.%I', s.schemaname, s.sequencename) \
                     ::pg_catalog.regclass::pg_catalog.oid AS oid) o \
                 ORDER BY s.schemaname, s.sequencename",
            )
            .await?;
        let (mut states, mut uncalled) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            let value = row.optional("last_value")?.map(|_| row.parse("last_value")).transpose()?;
            let state = SequenceState {
                schema: row.text("schemaname")?.to_owned(),
                name: row.text("sequencename")?.to_owned(),
                last_value: value.unwrap_or_default(),
                is_called: true,
                oid: row.parse("oid")?,
            };
            match value {
                Some(_) => states.push(state),
                None if row.bool("readable")? => uncalled.push(state),
                None => {}
            }
        }
        if uncalled.len() <= UNCALLED_MAX {
            states.extend(self.uncalled(uncalled).await?);
            states.sort_by(|one, next| (&one.schema, &one.name).cmp(&(&next.schema, &next.name)));
        }
        Ok(states)
    }

    /// Where sequences stand that gave no value since they were made or set: no view tells.
    async fn uncalled(&self, mut sequences: Vec<SequenceState>) -> Result<Vec<SequenceState>> {
        let select = |(at, state): (usize, &SequenceState)| {
            let name = qualified(&state.schema, &state.name);
            format!("SELECT {at} AS place, last_value, is_called FROM {name}")
        };
        let selects: Vec<String> = sequences.iter().enumerate().map(select).collect();
        if selects.is_empty() {
            return Ok(sequences);
        }
        for row in self.session.query(&selects.join(" UNION ALL ")).await? {
            let state = sequences.get_mut(row.parse::<usize>("place")?).ok_or_else(no_row)?;
            (state.last_value, state.is_called) =
                (row.parse("last_value")?, row.bool("is_called")?);
        }
        Ok(sequences)
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
