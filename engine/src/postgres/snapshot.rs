//! One snapshot for many sessions: the coordinator's transaction, which exports it, and
//! those that join.
//!
//! The coordinator stays open for as long as anybody reads: with it go the snapshot and
//! the locks.

use super::{Session, Settings, WireSession, identifier, qualified};
use crate::{Error, ErrorKind, Result};
use std::time::Duration;

/// What every reading session is told: nothing of the role's or database's own settings
/// may change what is read or how it is written. As `pg_dump` does.
const READING: &str = "\
    SET search_path = ''; SET DateStyle = ISO; SET IntervalStyle = POSTGRES; \
    SET extra_float_digits = 3; SET bytea_output = hex; SET synchronize_seqscans = off; \
    SET statement_timeout = 0; SET lock_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0; SET row_security = off; \
    SET standard_conforming_strings = on; SET client_encoding = 'UTF8'; \
    SET xmloption = content; SET quote_all_identifiers = off";
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Settings that not every server knows: set where they are there.
const OPTIONAL: &[(&str, &str)] =
    &[("transaction_timeout", "0"), ("restrict_nonsystem_relation_kind", "view, foreign-table")];
/// Tables locked by one statement.
const TABLES_PER_LOCK: usize = 500;

/// An exported snapshot with the session that keeps it.
pub struct Snapshot {
    session: Session,
    name: String,
    xids: String,
    lsn: u64,
    timeline: u32,
    settings_sql: String,
}

impl Snapshot {
    /// Opens a session, begins its transaction and exports its snapshot.
    ///
    /// # Errors
    /// As [`Session::connect`]; [`ErrorKind::Server`].
    pub async fn open(settings: &Settings) -> Result<Self> {
        let session = Session::connect(settings, "backup").await?;
        let settings_sql = settings_sql(&session).await?;
        session.execute(&settings_sql).await?;
        session.execute(BEGIN).await?;
        let standby = is_standby(&session).await?;
        // On a standby what was replayed can be read, on a primary what was written; the
        // LSN is asked for first, so that no change before it is missing from the snapshot.
        let function = if standby { "pg_last_wal_replay_lsn" } else { "pg_current_wal_insert_lsn" };
        let sql = format!(
            "SELECT pg_catalog.{function}() AS lsn, \
                    pg_catalog.pg_export_snapshot() AS name, \
                    pg_catalog.pg_current_snapshot() AS xids"
        );
        let rows = session.query(&sql).await?;
        let row = rows
            .first()
            .ok_or_else(|| Error::new(ErrorKind::Server, "server did not export a snapshot"))?;
        let (lsn, name) = (parse_lsn(row.text("lsn")?)?, row.text("name")?.to_owned());
        let xids = row.text("xids")?.to_owned();
        let timeline = timeline(&session).await?;
        Ok(Self { session, name, xids, lsn, timeline, settings_sql })
    }

    /// The coordinator's session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The consistent point.
    #[must_use]
    pub fn lsn(&self) -> u64 {
        self.lsn
    }

    /// `pg_current_snapshot()`: which transactions are visible.
    #[must_use]
    pub fn xids(&self) -> &str {
        &self.xids
    }

    /// The server's timeline; 0 where the role may not ask.
    #[must_use]
    pub fn timeline(&self) -> u32 {
        self.timeline
    }

    /// Opens a session for bulk reading that sees this snapshot.
    ///
    /// # Errors
    /// As [`WireSession::connect`]; [`ErrorKind::Server`] when the snapshot cannot be
    /// joined, as when a pooler leads to another server.
    pub async fn join(&self, settings: &Settings) -> Result<WireSession> {
        let mut wire = WireSession::connect(settings, "backup").await?;
        wire.execute(&self.settings_sql).await?;
        let sql = format!("{BEGIN}; SET TRANSACTION SNAPSHOT '{}'", self.name);
        wire.execute(&sql).await.map_err(|error| {
            Error::new(error.kind(), "could not join the backup's snapshot")
                .because(error)
                .hint("Connect to the server itself, not through a pooler or load balancer.")
        })?;
        Ok(wire)
    }

    /// Locks tables (schema and name) in the coordinator's transaction.
    ///
    /// # Errors
    /// [`ErrorKind::LockTimeout`] naming who holds the lock; [`ErrorKind::Privilege`]
    /// naming every table that the role may not read.
    pub async fn lock(&self, tables: &[(String, String)], timeout: Duration) -> Result<()> {
        self.check_privileges(tables).await?;
        self.session.execute(&format!("SET lock_timeout = {}", timeout.as_millis())).await?;
        for batch in tables.chunks(TABLES_PER_LOCK) {
            if let Err(error) = self.session.execute(&lock_sql(batch)).await {
                return Err(self.explain(error, batch).await);
            }
        }
        self.session.execute("SET lock_timeout = 0").await
    }

    /// Locks tables in the transaction of a session that joined.
    ///
    /// # Errors
    /// As [`Snapshot::lock`].
    pub async fn lock_on(
        &self,
        wire: &mut WireSession,
        tables: &[(String, String)],
        timeout: Duration,
    ) -> Result<()> {
        wire.execute(&format!("SET lock_timeout = {}", timeout.as_millis())).await?;
        for batch in tables.chunks(TABLES_PER_LOCK) {
            if let Err(error) = wire.execute(&lock_sql(batch)).await {
                return Err(self.explain(error, batch).await);
            }
        }
        wire.execute("SET lock_timeout = 0").await
    }

    /// Ends the transaction.
    pub async fn close(mut self) {
        self.session.close().await;
    }

    /// A table that cannot be read is found before anything is copied, and all of them at
    /// once.
    async fn check_privileges(&self, tables: &[(String, String)]) -> Result<()> {
        let mut denied = Vec::new();
        for batch in tables.chunks(TABLES_PER_LOCK) {
            let names = batch.iter().map(|(schema, name)| {
                format!("({}, {})", super::literal(schema), super::literal(name))
            });
            let sql = format!(
                "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE (n.nspname, c.relname) IN (VALUES {}) \
                 AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
                          AND pg_catalog.has_table_privilege(c.oid, 'SELECT')) \
                 ORDER BY 1, 2",
                names.collect::<Vec<_>>().join(", ")
            );
            for row in self.session.query(&sql).await? {
                denied.push(format!("\"{}.{}\"", row.text("nspname")?, row.text("relname")?));
            }
        }
        if denied.is_empty() {
            return Ok(());
        }
        let user = self.session.settings().user().to_owned();
        let message = format!("role \"{user}\" may not read {}", denied.join(", "));
        Err(Error::new(ErrorKind::Privilege, message).hint(format!(
            "Grant it: GRANT pg_read_all_data TO {}; or leave the tables out with -T.",
            identifier(&user)
        )))
    }

    /// Names who holds a lock that could not be had.
    async fn explain(&self, error: Error, tables: &[(String, String)]) -> Error {
        if error.kind() != ErrorKind::LockTimeout {
            return error;
        }
        // The coordinator's transaction may be the one that failed: ask beside it.
        let holders = match Session::connect(self.session.settings(), "backup").await {
            Ok(session) => holders(&session, tables).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let message = if holders.is_empty() {
            "could not lock the tables in time".to_owned()
        } else {
            format!("could not lock the tables in time: {}", holders.join("; "))
        };
        Error::new(ErrorKind::LockTimeout, message).because(error).hint(
            "Wait until that work is done, end it with pg_terminate_backend(PID), or wait longer: --lock-timeout",
        )
    }
}

fn lock_sql(tables: &[(String, String)]) -> String {
    let names = tables.iter().map(|(schema, name)| format!("ONLY {}", qualified(schema, name)));
    format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.collect::<Vec<_>>().join(", "))
}

/// Who holds `ACCESS EXCLUSIVE` on any of the tables: process, since when, and query.
async fn holders(session: &Session, tables: &[(String, String)]) -> Result<Vec<String>> {
    let names = tables
        .iter()
        .map(|(schema, name)| format!("({}, {})", super::literal(schema), super::literal(name)));
    let sql = format!(
        "SELECT l.pid, n.nspname, c.relname, l.granted, \
                pg_catalog.date_trunc('second', a.xact_start) AS since, \
                pg_catalog.left(a.query, 200) AS query \
         FROM pg_catalog.pg_locks l \
         JOIN pg_catalog.pg_class c ON c.oid = l.relation \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' \
         AND (n.nspname, c.relname) IN (VALUES {}) \
         ORDER BY NOT l.granted, l.pid LIMIT 10",
        names.collect::<Vec<_>>().join(", ")
    );
    let rows = session.query(&sql).await?;
    rows.iter()
        .map(|row| {
            Ok(format!(
                "process {} {} \"{}.{}\" since {} with: {}",
                row.text("pid")?,
                if row.bool("granted")? { "holds" } else { "waits for" },
                row.text("nspname")?,
                row.text("relname")?,
                row.optional("since")?.unwrap_or("an unknown time"),
                row.optional("query")?.unwrap_or("a query that this role may not see"),
            ))
        })
        .collect()
}

async fn settings_sql(session: &Session) -> Result<String> {
    let mut sql = READING.to_owned();
    for (name, value) in OPTIONAL {
        let known = format!("SELECT FROM pg_catalog.pg_settings WHERE name = '{name}'");
        if !session.query(&known).await?.is_empty() {
            sql.push_str(&format!("; SET {name} = '{value}'"));
        }
    }
    Ok(sql)
}

async fn is_standby(session: &Session) -> Result<bool> {
    let rows = session.query("SELECT pg_catalog.pg_is_in_recovery() AS standby").await?;
    rows.first().map_or(Ok(false), |row| row.bool("standby"))
}

/// Asks first whether it may ask: an error would end the transaction.
async fn timeline(session: &Session) -> Result<u32> {
    let function = "pg_catalog.pg_control_checkpoint()";
    let sql = format!("SELECT pg_catalog.has_function_privilege('{function}', 'EXECUTE') AS may");
    let may = session.query(&sql).await?.first().map_or(Ok(false), |row| row.bool("may"))?;
    if !may {
        return Ok(0);
    }
    let rows = session.query(&format!("SELECT timeline_id FROM {function}")).await?;
    rows.first().map_or(Ok(0), |row| row.parse("timeline_id"))
}

/// Reads an LSN as the server prints it: `16/B374D848`.
fn parse_lsn(text: &str) -> Result<u64> {
    let lsn = text.split_once('/').and_then(|(high, low)| {
        let high = u32::from_str_radix(high, 16).ok()?;
        let low = u32::from_str_radix(low, 16).ok()?;
        Some(u64::from(high) << 32 | u64::from(low))
    });
    lsn.ok_or_else(|| Error::new(ErrorKind::Server, format!("server sent the LSN \"{text}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_lsn_is_two_halves() {
        assert_eq!(parse_lsn("16/B374D848").unwrap(), 0x16_b374_d848);
        assert!(parse_lsn("16").is_err());
        assert!(parse_lsn("x/0").is_err());
    }
}
