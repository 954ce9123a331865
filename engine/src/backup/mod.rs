//! Takes a backup of one database or all of a server: of each one snapshot, all entries, all
//! rows.
//!
//! ```text
//! coordinator  snapshot -> locks -> catalogs -> plan ----------------> manifest
//!              (again for each database)
//! workers      rows -> cut -> chunks (named, known? compressed, sealed) -> packer -> store
//! ```
//!
//! Every queue is bounded, so a slow store slows the readers. What the manifest names is
//! durable before the manifest is written; a run that stops anywhere leaves a repository
//! as good as before, and packs that the next run uses.

mod earlier;
mod part;
mod plan;
mod rows;
mod source;
mod streams;
mod worker;

pub use source::Databases;

use crate::catalog::{self, Selection};
use crate::postgres::{Address, Host, Session, Settings, SnapshotOptions};
use crate::progress::{Event, Interrupt, Progress};
use crate::repository::{ChunkWriter, FinishedBackup, PACK_TARGET, Packer, Repository, WriteRun};
use crate::seal::{Sealer, random, series_id};
use crate::store::SingleFileWriter;
use crate::{Error, ErrorKind, Result, clock};
use earlier::{Earlier, Newest};
use pgkeep_format::entry::Entry;
use pgkeep_format::id::BackupId;
use pgkeep_format::manifest::{BackupKind, ClearPart, Database, SealedPart, Tag, Totals};
use pgkeep_format::stream::Stream;
use source::Source;
use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use streams::Streams;

/// Bytes of a pack in a single file, which is held in memory until it is whole.
const PACK_TARGET_SINGLE_FILE: u64 = 16 << 20;

/// What to back up and how.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// Which databases.
    pub databases: Databases,
    /// What to back up of each.
    pub selection: Selection,
    /// Roles and tablespaces too?
    pub globals: WithGlobals,
    /// With `globals`: the roles' passwords too, where they can be read.
    pub role_passwords: bool,
    /// How each database is looked at.
    pub snapshot: SnapshotOptions,
    /// Connections that read rows.
    pub jobs: NonZeroUsize,
    /// Tags to keep with the backup.
    pub tags: Vec<(String, String)>,
    /// How long to wait for the locks.
    pub lock_timeout: Duration,
    /// The options that made up `selection`, as typed; kept for people.
    pub selection_text: Vec<String>,
    /// Whether the backup before is read, where it can be, to store only rows that are new of chunks
    /// that have changed.
    pub reuses_rows: bool,
    /// Whether it is a copy of tables for a change stream that lacks their rows.
    pub is_copy: bool,
}

/// Whether roles and tablespaces go into a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithGlobals {
    /// They do not.
    No,
    /// They do where all of it can be read.
    IfReadable,
    /// They do, as far as they can be read.
    Yes,
}

/// What was backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupReport {
    /// The backup's id.
    pub id: BackupId,
    /// The databases' names, ascending.
    pub databases: Vec<String>,
    /// Whether roles and tablespaces are in it.
    pub has_globals: bool,
    /// Sums.
    pub totals: Totals,
    /// When it began and was done, microseconds since 1970 UTC.
    pub started_at: i64,
    /// See `started_at`.
    pub finished_at: i64,
    /// The consistent point; of several databases the least.
    pub lsn: u64,
    /// Each table with its rows, in the order of the databases and their entries.
    pub tables: Vec<TableReport>,
    /// What is not in the backup, a sentence each.
    pub warnings: Vec<String>,
}

/// What was backed up of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// The database that it is in.
    pub database: String,
    /// Schema, unquoted.
    pub schema: String,
    /// Name, unquoted.
    pub name: String,
    /// Rows.
    pub rows: u64,
    /// Bytes of all rows, plain.
    pub bytes: u64,
}

/// Takes a backup of what `options` name, at the server that `settings` lead to, into
/// `repository`.
///
/// # Errors
/// Whatever the server, the store or the keys give; the repository is good in any case.
/// [`ErrorKind::Interrupted`] when it was told to stop.
pub async fn run(
    repository: &Repository,
    settings: &Settings,
    options: &BackupOptions,
    progress: &Arc<dyn Progress>,
    interrupt: Interrupt,
) -> Result<BackupReport> {
    run_with(repository, settings, options, progress, interrupt, PACK_TARGET).await
}

/// Takes a backup into a single file with `repository`'s settings and keys. `location` is
/// the file's name for messages. Returns the report and the length of the file in bytes.
///
/// # Errors
/// As [`run`]; the file then has no end mark and no reader takes it.
pub async fn run_into_file(
    repository: &Repository,
    sink: Box<dyn Write + Send>,
    location: &str,
    settings: &Settings,
    options: &BackupOptions,
    progress: &Arc<dyn Progress>,
    interrupt: Interrupt,
) -> Result<(BackupReport, u64)> {
    let file = SingleFileWriter::begin(sink, location, repository.id())?;
    let repository = repository.copy_into(&file).await?;
    let target = PACK_TARGET_SINGLE_FILE;
    let report = run_with(&repository, settings, options, progress, interrupt, target).await?;
    Ok((report, file.end()?))
}

async fn run_with(
    repository: &Repository,
    settings: &Settings,
    options: &BackupOptions,
    progress: &Arc<dyn Progress>,
    mut interrupt: Interrupt,
    pack_target: u64,
) -> Result<BackupReport> {
    let mut run = None;
    let report = tokio::select! {
        biased;
        () = interrupt.wait() => {
            Err(Error::new(ErrorKind::Interrupted, "backup was interrupted")
                .hint("Run it again: what is stored so far is used."))
        }
        report = take(repository, settings, options, progress, pack_target, &mut run) => report,
    };
    if let Some(run) = run {
        run.end().await;
    }
    report
}

/// What the user is told of a backup with `--snapshot` of a standby.
const OF_UNKNOWN_SNAPSHOT: &str = "the backup joins no change stream, and may have parts of \
    transactions that were running when the snapshot was exported: a standby exports no more of it; \
    leave --snapshot away";

/// The steps of a backup; `run` is for the caller to end.
async fn take(
    repository: &Repository,
    settings: &Settings,
    options: &BackupOptions,
    progress: &Arc<dyn Progress>,
    pack_target: u64,
    run: &mut Option<WriteRun>,
) -> Result<BackupReport> {
    let started_at = clock::now_micros();
    progress.event(Event::Phase("connecting".to_owned()));
    let secrets = repository.secrets()?.clone();
    let (databases, mut warnings) = source::databases(settings, options).await?;
    warnings.iter().for_each(|warning| progress.event(Event::Warning(warning.clone())));
    let mut databases = databases.into_iter();
    let first = databases.next().unwrap_or_else(|| settings.clone());
    // Before anything is written: what refuses a backup refuses it here.
    let first = Source::open(&first, options, progress).await?;
    let server = Server::of(&first);
    if first.snapshot.replayed() == Some(0) {
        progress.event(Event::Warning(OF_UNKNOWN_SNAPSHOT.to_owned()));
        warnings.push(OF_UNKNOWN_SNAPSHOT.to_owned());
    }
    let globals = globals(first.snapshot.session(), options, progress, &mut warnings).await?;

    progress.event(Event::Phase("reading the repository's index".to_owned()));
    let run = run.insert(repository.begin_run().await?);
    let data_key = repository.new_data_key().await?;
    let key_len = data_key.as_ref().map_or(0, |(_, len)| *len);
    let data_key = data_key.map(|(key, _)| key);
    let keys = data_key.iter().map(|key| key.id).collect();
    let sealer = Sealer::new(data_key);

    let packer = Packer::new(repository, pack_target);
    let (writer, packing) =
        ChunkWriter::begin(&secrets, &sealer, run.known().clone(), packer, progress);
    let series = match options.databases {
        Databases::Connected => first.catalog.database.name.as_str(),
        // No database has such a name: this is the series of the server.
        Databases::All { .. } => "",
    };
    let series = series_id(&secrets, server.system_identifier, series);
    let reuses = options.reuses_rows && repository.reads() && !run.known().is_empty();
    let before = reuses.then(|| Arc::new(Newest::new(repository, series)));
    let copied = copy(first, databases, globals, options, before, &writer, progress).await;
    let (copied, counts, packed) = writer.end(copied, packing).await?;

    progress.event(Event::Phase("writing the manifest".to_owned()));
    warnings.extend(copied.warnings);
    let totals = Totals {
        rows: copied.tables.iter().map(|table| table.rows).sum(),
        plain_bytes: copied.tables.iter().map(|table| table.bytes).sum(),
        stored_bytes: counts.stored_bytes,
        added_bytes: packed.bytes + key_len,
        chunks: counts.chunks,
        new_chunks: counts.new_chunks,
        entries: copied.entries,
    };
    let clear = ClearPart {
        id: BackupId(random()?),
        features: Vec::new(),
        kind: if options.is_copy { BackupKind::Copy } else { BackupKind::Logical },
        series,
        started_at,
        finished_at: clock::now_micros(),
        lsn: copied.databases.iter().map(|database| database.lsn).min().unwrap_or_default(),
        program: concat!("pgkeep ", env!("CARGO_PKG_VERSION")).to_owned(),
        tags: tags(&options.tags),
        totals,
        keys,
        streams: copied.streams,
    };
    let sealed = SealedPart {
        databases: copied.databases,
        system_identifier: server.system_identifier,
        server_version: server.version,
        timeline: server.timeline,
        host: server.host,
        warnings,
        selection: options.selection_text.clone(),
        globals_stream: copied.globals_stream,
        copied_tables: options.is_copy.then_some(copied.oids),
    };
    let backup = FinishedBackup { clear, sealed };
    run.publish(&backup, &sealer).await?;
    Ok(BackupReport {
        id: backup.clear.id,
        databases: backup.sealed.databases.into_iter().map(|database| database.name).collect(),
        has_globals: backup.sealed.globals_stream.is_some(),
        totals,
        started_at,
        finished_at: backup.clear.finished_at,
        lsn: backup.clear.lsn,
        tables: copied.tables,
        warnings: backup.sealed.warnings,
    })
}

/// What is true of the server as a whole.
struct Server {
    system_identifier: u64,
    version: u32,
    timeline: u32,
    host: String,
}

impl Server {
    fn of(source: &Source) -> Self {
        Self {
            system_identifier: source.catalog.database.system_identifier.unwrap_or_default(),
            version: source.catalog.database.server_version,
            timeline: source.snapshot.timeline(),
            host: hosts(source.snapshot.session().settings()),
        }
    }
}

/// Entries of roles and tablespaces, where they are wanted.
async fn globals(
    session: &Session,
    options: &BackupOptions,
    progress: &Arc<dyn Progress>,
    warnings: &mut Vec<String>,
) -> Result<Option<Vec<Entry>>> {
    let wanted = match options.globals {
        WithGlobals::No => false,
        WithGlobals::IfReadable => {
            !options.role_passwords || catalog::may_read_passwords(session).await?
        }
        WithGlobals::Yes => true,
    };
    if !wanted {
        return Ok(None);
    }
    let globals =
        catalog::read_globals(session, options.role_passwords, options.selection.provider).await?;
    for warning in globals.warnings {
        progress.event(Event::Warning(warning.clone()));
        warnings.push(warning);
    }
    Ok(Some(globals.entries))
}

/// What was copied of all databases.
struct Copied {
    streams: Vec<Stream>,
    /// OIDs of all tables.
    oids: Vec<u32>,
    databases: Vec<Database>,
    globals_stream: Option<u32>,
    tables: Vec<TableReport>,
    warnings: Vec<String>,
    entries: u64,
}

/// Copies one database after the other; each snapshot ends with its database's last row. Rows are looked
/// for in the backup `before` this one.
async fn copy(
    first: Source,
    mut others: impl Iterator<Item = Settings>,
    globals: Option<Vec<Entry>>,
    options: &BackupOptions,
    before: Option<Arc<Newest>>,
    writer: &ChunkWriter,
    progress: &Arc<dyn Progress>,
) -> Result<Copied> {
    let mut streams = Streams::new(writer);
    let mut copied = Copied {
        streams: Vec::new(),
        oids: Vec::new(),
        databases: Vec::new(),
        globals_stream: None,
        tables: Vec::new(),
        warnings: Vec::new(),
        entries: 0,
    };
    if let Some(entries) = globals {
        copied.entries += entries.len() as u64;
        copied.globals_stream = Some(streams.store_entries(&entries).await?);
    }
    let mut next = Some(first);
    while let Some(Source { snapshot, mut catalog }) = next.take() {
        let name = catalog.database.name.clone();
        progress.event(Event::Phase(match options.databases {
            Databases::Connected => "copying rows".to_owned(),
            Databases::All { .. } => format!("copying rows of \"{name}\""),
        }));
        let encoding = &catalog.database.encoding;
        let earlier = before.as_ref().map(|newest| Earlier::new(newest, &name, encoding));
        let rows = rows::copy_all(&snapshot, &catalog, earlier, options, writer, progress).await?;
        copied.tables.extend(streams.store_rows(&mut catalog, rows).await?);
        copied.entries += catalog.entries.len() as u64;
        let oids = catalog.entries.iter().filter_map(|entry| entry.data.as_ref()?.table);
        copied.oids.extend(oids);
        copied.databases.push(Database {
            name,
            encoding: catalog.database.encoding,
            snapshot: snapshot.xids().to_owned(),
            lsn: snapshot.lsn(),
            replayed: snapshot.replayed(),
            entries_stream: streams.store_entries(&catalog.entries).await?,
        });
        copied.warnings.extend(catalog.warnings);
        snapshot.close().await?;
        if let Some(settings) = others.next() {
            next = Some(Source::open(&settings, options, progress).await?);
        }
    }
    copied.streams = streams.into_list();
    copied.oids.sort_unstable();
    Ok(copied)
}

/// Where the server was reached: `db.internal:5432`; several where any
/// of them may answer.
fn hosts(settings: &Settings) -> String {
    let host = |host: &Host| match &host.address {
        Address::Tcp { name, ip: Some(ip) } if name.is_empty() => format!("{ip}:{}", host.port),
        Address::Tcp { name, .. } => format!("{name}:{}", host.port),
        Address::Unix(directory) => format!("{}:{}", directory.display(), host.port),
        Address::DefaultUnix => format!("local socket:{}", host.port),
    };
    settings.hosts().iter().map(host).collect::<Vec<_>>().join(",")
}

fn tags(pairs: &[(String, String)]) -> Vec<Tag> {
    let mut tags: Vec<Tag> =
        pairs.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect();
    tags.sort();
    tags
}
