//! What a stream needs on the server, made and taken away: a publication, replica identities
//! of tables without a key, the slot. And marks, which name a position.

use super::begin::{self, Source};
use super::leases::Leases;
use super::position;
use super::receive::MARK_PREFIX;
use super::run::storage;
use super::watch::Watch;
use crate::catalog::capture::{self, Publishing};
use crate::catalog::read_image;
use crate::postgres::{
    ReplicationSession, ServerError, Session, Settings, Snapshot, SnapshotOptions, identifier,
    literal, only, qualified,
};
use crate::progress::{Event, Progress};
use crate::repository::Repository;
use crate::{Error, ErrorKind, Lsn, Result};
use std::sync::Arc;

/// What becomes of tables that nothing identifies rows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyless {
    /// `REPLICA IDENTITY FULL`: the WAL holds each old row as a whole.
    Full,
    /// They are not in the stream.
    Skip,
}

/// How to set up.
#[derive(Debug, Clone)]
pub struct SetupOptions {
    /// The replication slot.
    pub slot: String,
    /// The publication.
    pub publication: String,
    /// Tables without a key.
    pub keyless: Keyless,
    /// Keeps the slot on standbys too (version 17).
    pub failover: bool,
    /// Shows the SQL and changes nothing.
    pub dry_run: bool,
}

/// What was set up, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetupReport {
    /// The database.
    pub database: String,
    /// SQL in the order in which it is run; the slot is made after.
    pub statements: Vec<String>,
    /// Tables in the stream.
    pub tables: u64,
    /// Tables that are not, quoted.
    pub left_out: Vec<String>,
    /// Where the stream begins; absent when it had begun before, and of a dry run.
    pub begins_at: Option<u64>,
    /// What the user should look at, a sentence each.
    pub warnings: Vec<String>,
}

/// A table and whether something identifies its rows.
struct Table {
    name: String,
    published: bool,
    keyless: bool,
}

const TABLES: &str = "
    SELECT n.nspname, c.relname,
           EXISTS (SELECT FROM pg_catalog.pg_publication_rel p
                   JOIN pg_catalog.pg_publication o ON o.oid = p.prpubid
                   WHERE p.prrelid = c.oid AND o.pubname = {publication}) AS published,
           c.relreplident = 'n' OR (c.relreplident = 'd' AND NOT EXISTS (
             SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid
             AND i.indisprimary AND i.indimmediate AND i.indisvalid)) AS keyless
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence = 'p'
    AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgkeep')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY n.nspname, c.relname";

/// Sets a stream up; what is there already is left as it is.
///
/// # Errors
/// What the server and the store give; [`ErrorKind::Usage`] where `wal_level` does not allow
/// it.
pub async fn setup(
    repository: &Repository,
    settings: &Settings,
    options: &SetupOptions,
    progress: &Arc<dyn Progress>,
) -> Result<SetupReport> {
    progress.event(Event::Phase("connecting".to_owned()));
    let watch = Watch::open(settings, &options.slot, &options.publication).await?;
    let session = watch.session();
    check_wal_level(session).await?;
    let mut report = plan(session, options).await?;
    let mut replication = ReplicationSession::connect(settings, "setup").await?;
    let secrets = repository.secrets()?;
    let source = Source::ask(&mut replication, session, secrets).await?;
    report.database.clone_from(&source.database);
    progress.event(Event::Phase("reading definitions".to_owned()));
    let capture = capture_statements(settings, options).await?;
    if options.dry_run {
        report.statements.extend(capture);
        return Ok(report);
    }
    progress.event(Event::Phase("setting up the publication".to_owned()));
    for sql in &report.statements {
        session.execute(sql).await?;
    }
    let captures = install(session, options, &capture, &mut report).await?;
    let last = position::last(repository, source.stream).await?.map(|position| position.last);
    let slot = watch.slot().await?;
    let goes_on = match &last {
        Some(last) => matches!(begin::find_slot(&watch, last).await?, begin::SlotFound::Good),
        None => false,
    };
    if goes_on {
        return Ok(report);
    }
    if let Some(slot) = slot {
        if slot.active_pid.is_some() {
            let message = format!("replication slot \"{}\" is in use by another", options.slot);
            return Err(
                Error::new(ErrorKind::AlreadyExists, message).hint("Name another one: --slot NAME")
            );
        }
        replication.drop_slot(&options.slot).await?;
    }
    progress.event(Event::Phase("making the replication slot".to_owned()));
    report.warnings.extend(long_transactions(session).await?);
    for warning in &report.warnings {
        progress.event(Event::Warning(warning.clone()));
    }
    let mut leases = Leases::default();
    let storage = storage(repository, &mut leases).await?;
    let (slot, failover) = (&options.slot, options.failover);
    let begun =
        begin::begin(&mut replication, settings, &source, slot, failover, captures, &storage).await;
    drop(storage);
    leases.end_unused().await;
    let begun = begun?;
    if let Some(last) = last {
        report.warnings.push(format!(
            "what committed from {} to {} is not in the stream",
            Lsn(last.last),
            Lsn(begun.last)
        ));
    }
    report.begins_at = Some(begun.last);
    replication.close().await;
    watch.close().await;
    Ok(report)
}

/// The statements that install the capture of changes of definitions.
async fn capture_statements(settings: &Settings, options: &SetupOptions) -> Result<Vec<String>> {
    let snapshot = Snapshot::open(settings, &SnapshotOptions::default()).await?;
    let image = read_image(snapshot.session()).await?;
    snapshot.close().await?;
    let publishing = Publishing {
        publication: options.publication.clone(),
        keyless: options.keyless == Keyless::Full,
    };
    Ok(capture::installation(&image, &publishing))
}

/// Installs it, or says what is without.
async fn install(
    session: &Session,
    options: &SetupOptions,
    statements: &[String],
    report: &mut SetupReport,
) -> Result<bool> {
    const INSUFFICIENT_PRIVILEGE: &str = "42501";
    let all = statements.join("\n");
    let sql = format!("BEGIN; SET LOCAL lock_timeout = '10s';\n{all}\nCOMMIT;");
    match session.execute(&sql).await {
        Ok(()) => {
            report.statements.extend_from_slice(statements);
            Ok(true)
        }
        Err(error) => {
            session.execute("ROLLBACK").await?;
            let server = error.cause::<ServerError>();
            if server.is_none_or(|server| server.sqlstate != INSUFFICIENT_PRIVILEGE) {
                return Err(error);
            }
            report.warnings.push(format!(
                "the role may not create event triggers ({error}): after a change of definitions, \
                 and of new tables, only backups taken later can be restored; new tables join \
                 publication \"{}\" when setup is run again",
                options.publication
            ));
            Ok(false)
        }
    }
}

async fn check_wal_level(session: &Session) -> Result<()> {
    let rows = session
        .query(
            "SELECT pg_catalog.current_setting('wal_level') AS level, \
             pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 190000 AS raises",
        )
        .await?;
    let row = only(&rows)?;
    let level = row.text("level")?;
    if level == "logical" || (level == "replica" && row.bool("raises")?) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Usage,
        format!("wal_level of the server is \"{level}\", not logical"),
    )
    .hint("Run ALTER SYSTEM SET wal_level = logical, and restart the server."))
}

/// The statements that are needed, and what they mean.
async fn plan(session: &Session, options: &SetupOptions) -> Result<SetupReport> {
    let publication = identifier(&options.publication);
    let name = literal(&options.publication);
    let rows = session.query(&TABLES.replace("{publication}", &name)).await?;
    let mut tables = Vec::with_capacity(rows.len());
    for row in &rows {
        tables.push(Table {
            name: qualified(row.text("nspname")?, row.text("relname")?),
            published: row.bool("published")?,
            keyless: row.bool("keyless")?,
        });
    }
    let sql = format!("SELECT FROM pg_catalog.pg_publication WHERE pubname = {name}");
    let exists = !session.query(&sql).await?.is_empty();
    let mut report = SetupReport::default();
    if !exists {
        report.statements.push(format!(
            "CREATE PUBLICATION {publication} \
             WITH (publish = 'insert, update, delete, truncate')"
        ));
    }
    report.statements.extend(capture::MEMORY.map(str::to_owned));
    for table in &tables {
        if table.keyless && options.keyless == Keyless::Skip {
            report.left_out.push(table.name.clone());
            if table.published {
                report.statements.push(format!(
                    "ALTER PUBLICATION {publication} DROP TABLE ONLY {}",
                    table.name
                ));
            }
            continue;
        }
        report.tables += 1;
        // Before it is published: an UPDATE in between must not fail.
        if table.keyless {
            report.statements.push(format!("ALTER TABLE {} REPLICA IDENTITY FULL", table.name));
            report.statements.push(format!(
                "INSERT INTO pgkeep.full_identity VALUES ({}::pg_catalog.regclass) \
                 ON CONFLICT DO NOTHING",
                literal(&table.name)
            ));
        }
        if !table.published {
            report
                .statements
                .push(format!("ALTER PUBLICATION {publication} ADD TABLE ONLY {}", table.name));
        }
    }
    report.warnings.extend(
        report
            .left_out
            .iter()
            .map(|table| format!("{table} is not in the stream: nothing identifies its rows")),
    );
    Ok(report)
}

/// Transactions that a new slot waits for.
async fn long_transactions(session: &Session) -> Result<Vec<String>> {
    let rows = session
        .query(
            "SELECT a.pid, coalesce(a.usename, '') AS role, coalesce(a.state, '') AS state, \
               extract(epoch FROM pg_catalog.now() - a.xact_start)::pg_catalog.int8 AS seconds \
             FROM pg_catalog.pg_stat_activity a \
             WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid() \
             AND a.xact_start < pg_catalog.now() - interval '5 seconds' \
             ORDER BY a.xact_start LIMIT 10",
        )
        .await?;
    let tell = |row: &crate::postgres::Row| {
        Ok(format!(
            "the replication slot waits for the transaction of process {} (role \"{}\", {}), \
             which began {} s ago",
            row.text("pid")?,
            row.text("role")?,
            row.text("state")?,
            row.text("seconds")?
        ))
    };
    rows.iter().map(tell).collect()
}

/// Takes away what [`setup`] made; returns the SQL that was run, or would be.
///
/// # Errors
/// What the server gives.
pub async fn teardown(
    settings: &Settings,
    slot: &str,
    publication: &str,
    dry_run: bool,
) -> Result<Vec<String>> {
    let watch = Watch::open(settings, slot, publication).await?;
    let session = watch.session();
    let mut statements = Vec::new();
    if watch.slot().await?.is_some() {
        let slot = literal(slot);
        statements.push(format!("SELECT pg_catalog.pg_drop_replication_slot({slot})"));
    }
    let name = literal(publication);
    let full = remembered(session).await?;
    statements.extend(capture::removal());
    let exists = session
        .query(&format!("SELECT FROM pg_catalog.pg_publication WHERE pubname = {name}"))
        .await?;
    if !exists.is_empty() {
        statements.push(format!("DROP PUBLICATION {}", identifier(publication)));
    }
    for table in full {
        statements.push(format!("ALTER TABLE {table} REPLICA IDENTITY DEFAULT"));
    }
    if !dry_run {
        for sql in &statements {
            session.execute(sql).await?;
        }
    }
    watch.close().await;
    Ok(statements)
}

/// The tables that got `REPLICA IDENTITY FULL` for the stream, and still have it.
async fn remembered(session: &Session) -> Result<Vec<String>> {
    let sql = "SELECT FROM pg_catalog.pg_class \
               WHERE oid = pg_catalog.to_regclass('pgkeep.full_identity')";
    if session.query(sql).await?.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session
        .query(
            "SELECT n.nspname, c.relname FROM pgkeep.full_identity f \
             JOIN pg_catalog.pg_class c ON c.oid = f.relid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relreplident = 'f' ORDER BY n.nspname, c.relname",
        )
        .await?;
    rows.iter().map(|row| Ok(qualified(row.text("nspname")?, row.text("relname")?))).collect()
}

/// Writes a mark into the WAL; returns where it is.
///
/// # Errors
/// What the server gives.
pub async fn mark(settings: &Settings, name: &str) -> Result<Lsn> {
    let mut session = Session::connect(settings, "mark").await?;
    let sql = format!(
        "SELECT pg_catalog.pg_logical_emit_message(true, {}, {}) - '0/0' AS lsn",
        literal(MARK_PREFIX),
        literal(name)
    );
    let rows = session.query(&sql).await?;
    let row = only(&rows)?;
    let lsn = Lsn(row.parse("lsn")?);
    session.close().await;
    Ok(lsn)
}
