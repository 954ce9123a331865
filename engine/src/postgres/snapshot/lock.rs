//! Locks with a limit of patience. When it runs out, a second session asks the server who is
//! in the way before the wait is given up: afterwards nobody could tell.

use crate::postgres::cancel::Cancel;
use crate::postgres::settings::Settings;
use crate::postgres::{Row, ServerError, Session, qualified};
use crate::{Error, ErrorKind, Result};
use std::time::Duration;

/// Tables in one statement: few enough that a statement stays short, many enough that ten
/// thousand tables are a hundred round trips.
const BATCH: usize = 100;

/// Most of a blocker's query that an error shows, in characters.
const QUERY_SHOWN: usize = 200;

/// A schema and a name.
pub(super) type Table = (String, String);

pub(super) fn batches(tables: &[Table]) -> impl Iterator<Item = &[Table]> {
    tables.chunks(BATCH)
}

/// The statement that locks a batch. `ONLY`, because children are in the list by themselves.
pub(super) fn sql(batch: &[Table]) -> String {
    let names: Vec<_> = batch.iter().map(|(schema, name)| qualified(schema, name)).collect();
    format!("LOCK TABLE ONLY {} IN ACCESS SHARE MODE", names.join(", ONLY "))
}

/// One wait for locks.
pub(super) struct Wait<'a> {
    pub(super) settings: &'a Settings,
    /// The process that waits; 0 when it is not known.
    pub(super) backend: u32,
    /// What the statement locks.
    pub(super) batch: &'a [Table],
    /// Zero is no limit.
    pub(super) timeout: Duration,
}

impl Wait<'_> {
    /// Runs the statement to its end or to the end of patience.
    pub(super) async fn run(
        &self,
        statement: impl Future<Output = Result<()>>,
        cancel: &Cancel,
    ) -> Result<()> {
        let mut statement = std::pin::pin!(statement);
        let outcome = if self.timeout.is_zero() {
            statement.await
        } else {
            match tokio::time::timeout(self.timeout, &mut statement).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    let blocked = self.blocked().await;
                    cancel.send().await?;
                    match statement.await {
                        // It came through after all.
                        Ok(()) => return Ok(()),
                        Err(error) => return Err(self.timed_out(blocked, error)),
                    }
                }
            }
        };
        match outcome {
            Err(error) if is_undefined(&error) => {
                Err(Error::new(ErrorKind::Changed, "table was dropped or renamed meanwhile")
                    .hint("Run the command again.")
                    .because(error))
            }
            outcome => outcome,
        }
    }

    /// What is waited for and who is in the way, as the server tells it now.
    async fn blocked(&self) -> Result<Blocked> {
        let mut observer = Session::connect(self.settings, "lock wait").await?;
        let backend = self.backend;
        let table = observer
            .query(&format!(
                "SELECT relation::regclass AS name FROM pg_catalog.pg_locks \
                 WHERE pid = {backend} AND NOT granted AND relation IS NOT NULL \
                 AND database = (SELECT oid FROM pg_catalog.pg_database \
                                 WHERE datname = pg_catalog.current_database())"
            ))
            .await?;
        let blockers = observer
            .query(&format!(
                "SELECT b.pid, a.usename, a.application_name, a.state, a.query, \
                   pg_catalog.date_trunc('second', a.xact_start) AS since, \
                   a.wait_event_type = 'Lock' AS waits \
                 FROM (SELECT DISTINCT pg_catalog.unnest( \
                         pg_catalog.pg_blocking_pids({backend})) AS pid) b \
                 LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid ORDER BY a.xact_start"
            ))
            .await?;
        observer.close().await;
        let table = match table.first() {
            Some(row) => Some(row.text("name")?.to_owned()),
            None => None,
        };
        let blockers = blockers.iter().map(describe).collect::<Result<_>>()?;
        Ok(Blocked { table, blockers })
    }

    fn timed_out(&self, blocked: Result<Blocked>, cause: Error) -> Error {
        // Not our cancel request but another end.
        if cause.cause::<ServerError>().is_none_or(|error| error.sqlstate != "57014") {
            return cause;
        }
        let seconds = self.timeout.as_secs_f64();
        let (table, blockers) = match blocked {
            Ok(Blocked { table, blockers }) => (table, blockers),
            Err(error) => {
                tracing::warn!("could not find out who holds the lock: {error:?}");
                (None, Vec::new())
            }
        };
        let what = match (table, self.batch) {
            (Some(table), _) => format!("table {table}"),
            (None, [(schema, name)]) => format!("table {}", qualified(schema, name)),
            (None, _) => "a table".to_owned(),
        };
        let mut message = format!("could not lock {what} within {seconds} seconds");
        if !blockers.is_empty() {
            message = format!("{message}: blocked by {}", blockers.join(" and by "));
        }
        Error::new(ErrorKind::LockTimeout, message)
            .hint(
                "Wait for it to end, end it with SELECT pg_terminate_backend(PID), or be more \
                 patient with --lock-timeout.",
            )
            .because(cause)
    }
}

/// What a wait is for.
struct Blocked {
    table: Option<String>,
    blockers: Vec<String>,
}

fn describe(row: &Row) -> Result<String> {
    // A prepared transaction has no process.
    if row.text("pid")? == "0" {
        return Ok("a prepared transaction (SELECT * FROM pg_prepared_xacts)".to_owned());
    }
    let word = |column| Ok::<_, Error>(row.optional(column)?.unwrap_or("not known").to_owned());
    let state = match row.optional("waits")? {
        Some("t") => "itself waiting for a lock".to_owned(),
        _ => word("state")?,
    };
    let query = word("query")?.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: String = query.chars().take(QUERY_SHOWN).collect();
    let more = if shown.len() < query.len() { "…" } else { "" };
    Ok(format!(
        "process {} (role \"{}\", application \"{}\", {state}, in its transaction since {}, \
         query: {shown}{more})",
        row.text("pid")?,
        word("usename")?,
        word("application_name")?,
        word("since")?,
    ))
}

fn is_undefined(error: &Error) -> bool {
    error
        .cause::<ServerError>()
        .is_some_and(|error| matches!(error.sqlstate.as_str(), "42P01" | "3F000"))
}
