//! Takes a backup: one snapshot, all entries, all rows.
//!
//! ```text
//! coordinator  snapshot -> locks -> catalogs -> plan ----------------> manifest
//! workers      COPY -> cut -> chunks (named, known? compressed, sealed) -> packer -> store
//! ```
//!
//! Every queue is bounded, so a slow store slows the readers. What the manifest names is
//! durable before the manifest is written; a run that stops anywhere leaves a repository
//! as good as before, and packs that the next run uses.

mod chunks;
mod plan;
mod rows;
mod streams;

use crate::catalog::{self, Catalog, Selection};
use crate::postgres::{Address, Host, Settings, Snapshot};
use crate::progress::{Event, Interrupt, Progress};
use crate::repository::{ChunkIndex, FinishedBackup, Packer, Repository};
use crate::seal::{Sealer, random, series_id};
use crate::store::SingleFileWriter;
use crate::{Error, ErrorKind, Result, clock};
use chunks::ChunkWriter;
use pgkeep_format::id::BackupId;
use pgkeep_format::manifest::{BackupKind, ClearPart, SealedPart, Tag, Totals};
use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a pack in a repository.
const PACK_TARGET: u64 = 64 << 20;
/// Bytes of a pack in a single file, which is held in memory until it is whole.
const PACK_TARGET_SINGLE_FILE: u64 = 16 << 20;

/// What to back up and how.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// What to back up.
    pub selection: Selection,
    /// Connections that read rows.
    pub jobs: NonZeroUsize,
    /// Tags to keep with the backup.
    pub tags: Vec<(String, String)>,
    /// How long to wait for the locks.
    pub lock_timeout: Duration,
    /// The options that made up `selection`, as typed; kept for people.
    pub selection_text: Vec<String>,
}

/// What was backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupReport {
    /// The backup's id.
    pub id: BackupId,
    /// The database's name.
    pub database: String,
    /// Sums.
    pub totals: Totals,
    /// When it began and was done, microseconds since 1970 UTC.
    pub started_at: i64,
    /// See `started_at`.
    pub finished_at: i64,
    /// The consistent point.
    pub lsn: u64,
    /// Each table with its rows, in the order of the entries.
    pub tables: Vec<TableReport>,
    /// What is not in the backup, a sentence each.
    pub warnings: Vec<String>,
}

/// What was backed up of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// Schema, unquoted.
    pub schema: String,
    /// Name, unquoted.
    pub name: String,
    /// Rows.
    pub rows: u64,
    /// Bytes of all rows, plain.
    pub bytes: u64,
}

/// Takes a backup of the database that `settings` lead to into `repository`.
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
    tokio::select! {
        biased;
        () = interrupt.wait() => {
            Err(Error::new(ErrorKind::Interrupted, "backup was interrupted")
                .hint("Run it again: what is stored so far is used."))
        }
        report = take(repository, settings, options, progress, pack_target) => report,
    }
}

/// The steps of a backup.
async fn take(
    repository: &Repository,
    settings: &Settings,
    options: &BackupOptions,
    progress: &Arc<dyn Progress>,
    pack_target: u64,
) -> Result<BackupReport> {
    let started_at = clock::now_micros();
    progress.event(Event::Phase("connecting".to_owned()));
    let secrets = repository.secrets()?.clone();
    let snapshot = Snapshot::open(settings).await?;

    progress.event(Event::Phase("reading the catalogs".to_owned()));
    let session = snapshot.session();
    let locked = catalog::lock_targets(session, &options.selection).await?;
    snapshot.lock(&locked_tables(&locked), options.lock_timeout).await?;
    let mut catalog = catalog::read(session, &options.selection).await?;
    for warning in &catalog.warnings {
        progress.event(Event::Warning(warning.clone()));
    }

    progress.event(Event::Phase("reading the repository's index".to_owned()));
    let index = Arc::new(ChunkIndex::for_writing(repository).await?);
    let data_key = repository.new_data_key().await?;
    let key_len = data_key.as_ref().map_or(0, |(_, len)| *len);
    let data_key = data_key.map(|(key, _)| key);
    let keys = data_key.iter().map(|key| key.id).collect();
    let sealer = Sealer::new(data_key);

    progress.event(Event::Phase("copying rows".to_owned()));
    let packer = Packer::new(repository, pack_target);
    let (writer, packing) = ChunkWriter::begin(&secrets, &sealer, index, packer, progress);
    let copied = async {
        let copied = rows::copy_all(&snapshot, &catalog, options, &writer, progress).await?;
        streams::store(&writer, &mut catalog, copied).await
    };
    let stored = copied.await;
    let (stored, counts, packed) = writer.end(stored, packing).await?;

    progress.event(Event::Phase("writing the manifest".to_owned()));
    let totals = Totals {
        rows: stored.tables.iter().map(|table| table.rows).sum(),
        plain_bytes: stored.tables.iter().map(|table| table.bytes).sum(),
        stored_bytes: counts.stored_bytes,
        added_bytes: packed.bytes + key_len,
        chunks: counts.chunks,
        new_chunks: counts.new_chunks,
        entries: catalog.entries.len() as u64,
    };
    let clear = ClearPart {
        id: BackupId(random()?),
        features: Vec::new(),
        kind: BackupKind::Logical,
        series: series_id(
            &secrets,
            catalog.database.system_identifier.unwrap_or_default(),
            &catalog.database.name,
        ),
        started_at,
        finished_at: clock::now_micros(),
        lsn: snapshot.lsn(),
        program: concat!("pgkeep ", env!("CARGO_PKG_VERSION")).to_owned(),
        tags: tags(&options.tags),
        totals,
        keys,
        streams: stored.streams,
    };
    let sealed = sealed_part(&catalog, &snapshot, options, stored.entries_stream);
    let backup = FinishedBackup { clear, sealed };
    repository.store_manifest(&backup, &sealer).await?;
    snapshot.close().await?;
    Ok(BackupReport {
        id: backup.clear.id,
        database: backup.sealed.database,
        totals,
        started_at,
        finished_at: backup.clear.finished_at,
        lsn: backup.clear.lsn,
        tables: stored.tables,
        warnings: catalog.warnings,
    })
}

fn sealed_part(
    catalog: &Catalog,
    snapshot: &Snapshot,
    options: &BackupOptions,
    entries_stream: u32,
) -> SealedPart {
    SealedPart {
        database: catalog.database.name.clone(),
        system_identifier: catalog.database.system_identifier.unwrap_or_default(),
        server_version: catalog.database.server_version,
        encoding: catalog.database.encoding.clone(),
        snapshot: snapshot.xids().to_owned(),
        timeline: snapshot.timeline(),
        entries_stream,
        warnings: catalog.warnings.clone(),
        selection: options.selection_text.clone(),
        host: hosts(snapshot.session().settings()),
    }
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

fn locked_tables(targets: &[catalog::LockTarget]) -> Vec<(String, String)> {
    targets.iter().map(|target| (target.schema.clone(), target.name.clone())).collect()
}
