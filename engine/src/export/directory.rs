//! A backup as a directory that `pg_restore` reads: a table of contents, a file with the rows
//! of each table, a file for each large object. Files are named by number. Rows are not
//! compressed.
//!
//! ```text
//! entries -> items (toc.dat, written last)
//! rows    -> NUMBER.dat        large objects -> blobs_NUMBER.toc, blob_OID.dat …
//! ```
//!
//! `pg_restore` sets owners itself, by what an item says, so that its `--no-owner` and its
//! `--use-set-session-authorization` work; the entries that say it in SQL are left out.

use super::archive::{Contents, Header, Item, Part};
use super::large_objects::{Piece, Pieces};
use super::{Export, ExportReport, unwritable};
use crate::catalog::{
    Aspect, Selection, TablesBelow, drops, rows_target, select_database, table_locks,
};
use crate::new_file::NewFile;
use crate::postgres::literal;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Data, Entry, EntryKind, Kind, Section};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;

const CONTENTS: &str = "toc.dat";

/// What `pg_restore` reads before all else: what the SQL is to be read with.
const SETTINGS: [(&str, &str); 3] = [
    ("ENCODING", "SET client_encoding = 'UTF8';\n"),
    ("STDSTRINGS", "SET standard_conforming_strings = 'on';\n"),
    ("SEARCHPATH", "SELECT pg_catalog.set_config('search_path', '', false);\n"),
];

/// In place of SQL where there is none: `pg_restore` sets an owner only where it can drop.
const NOT_DROPPED: &str = "-- goes with what it belongs to\n";
/// Behind a comment `pg_restore` looks for no DROP to put IF EXISTS into: for what is dropped
/// in other words than it looks for, and so says it already where it can.
const TAKES_NO_IF_EXISTS: &str = "-- no IF EXISTS goes in here\n";
const NOT_CREATED: &str = "-- comes with every database\n";

pub(super) async fn write(export: &Export<'_>, path: &Path) -> Result<ExportReport> {
    let directory = NewDirectory::create(path)?;
    let plan = Plan::new(export);
    let contents = plan.contents()?;
    let mut report = ExportReport::default();
    for at in &plan.order {
        let entry = &export.entries[*at];
        report.entries += 1;
        let Some(data) = &entry.data else { continue };
        report.tables += 1;
        report.rows += data.rows;
        let file = path.join(rows_file(entry, id(*at)?));
        if entry.kind == Kind::LargeObjectData {
            write_large_objects(export, entry, data, path, &file).await?;
        } else {
            write_rows(export, entry, data, &file).await?;
        }
    }
    write_file(&path.join(CONTENTS), |output| output.write_all(&contents).map_err(unwritable))?;
    directory.keep();
    Ok(report)
}

/// A directory that is removed again, with all in it, unless it is kept.
struct NewDirectory<'a> {
    path: &'a Path,
    kept: bool,
}

impl<'a> NewDirectory<'a> {
    fn create(path: &'a Path) -> Result<Self> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => Ok(Self { path, kept: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let message = format!("\"{}\" already exists", path.display());
                Err(Error::new(ErrorKind::AlreadyExists, message)
                    .hint("Name a directory that is not there yet; it is made."))
            }
            Err(error) => {
                let message = format!("could not make directory \"{}\"", path.display());
                Err(Error::new(ErrorKind::Store, message).because(error))
            }
        }
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for NewDirectory<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = fs::remove_dir_all(self.path) {
            let path = self.path.display();
            tracing::warn!("could not remove unfinished directory \"{path}\": {error}");
        }
    }
}

/// Writes a new file and makes it durable.
fn write_file(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let file = NewFile::create(path)?;
    let mut output = BufWriter::new(file.handle()?);
    write(&mut output)?;
    output.flush().map_err(unwritable)?;
    file.keep()
}

/// The id of the item of an entry; those before it are the settings'.
fn id(at: usize) -> Result<i32> {
    let first = SETTINGS.len() + 1;
    i32::try_from(at + first).map_err(|_| {
        Error::new(ErrorKind::Damaged, "backup has more objects than an archive can have")
    })
}

fn rows_file(entry: &Entry, id: i32) -> String {
    if entry.kind == Kind::LargeObjectData {
        format!("blobs_{id}.toc")
    } else {
        format!("{id}.dat")
    }
}

async fn write_rows(export: &Export<'_>, entry: &Entry, data: &Data, path: &Path) -> Result<()> {
    let file = NewFile::create(path)?;
    let mut output = BufWriter::new(file.handle()?);
    export.for_each_chunk(entry, data, |plain| output.write_all(plain).map_err(unwritable)).await?;
    // For the script that pg_restore can make of it; a server takes it for the end as well.
    output.write_all(b"\\.\n\n\n").map_err(unwritable)?;
    output.flush().map_err(unwritable)?;
    file.keep()
}

async fn write_large_objects(
    export: &Export<'_>,
    entry: &Entry,
    data: &Data,
    directory: &Path,
    list: &Path,
) -> Result<()> {
    let mut pieces = Pieces::default();
    let mut oids = Vec::new();
    // The one whose pieces are coming.
    let mut open: Option<(u32, File)> = None;
    export
        .for_each_chunk(entry, data, |plain| {
            pieces.read(plain, |piece| {
                let file = match open.take() {
                    Some((oid, file)) if oid == piece.oid => file,
                    last => {
                        if let Some((_, file)) = last {
                            file.sync_all().map_err(unwritable)?;
                        }
                        oids.push(piece.oid);
                        let path = directory.join(large_object_file(piece.oid));
                        File::create_new(path).map_err(unwritable)?
                    }
                };
                write_piece(&file, &piece)?;
                open = Some((piece.oid, file));
                Ok(())
            })
        })
        .await?;
    if let Some((_, file)) = open {
        file.sync_all().map_err(unwritable)?;
    }
    write_file(list, |output| {
        for oid in &oids {
            writeln!(output, "{oid} {}", large_object_file(*oid)).map_err(unwritable)?;
        }
        Ok(())
    })
}

fn large_object_file(oid: u32) -> String {
    format!("blob_{oid}.dat")
}

/// What lies between two pieces reads as zero bytes.
fn write_piece(file: &File, piece: &Piece) -> Result<()> {
    file.write_all_at(&piece.bytes, piece.offset).map_err(unwritable)
}

/// Which entries become items, and in which order.
struct Plan<'a> {
    export: &'a Export<'a>,
    order: Vec<usize>,
    /// Entries whose owner their item says.
    owned: BTreeSet<usize>,
}

impl<'a> Plan<'a> {
    fn new(export: &'a Export<'a>) -> Self {
        let entries = &export.entries;
        let mut included = export.selected.clone();
        // pg_restore has a --create of its own.
        included.extend(select_database(entries, export.selection));
        let mut owned = BTreeSet::new();
        included.retain(|at| {
            let entry = &entries[*at];
            let whole = entry.belongs_to.map(|whole| whole as usize);
            let whole = whole.filter(|_| entry.kind == Kind::Owner);
            let said = whole.filter(|whole| entries.get(*whole).is_some_and(says_owner));
            owned.extend(said);
            said.is_none()
        });
        let mut order: Vec<(Part, usize, usize)> = included
            .iter()
            .map(|at| {
                // What is said about an object follows it.
                let whole = entries[*at].belongs_to.filter(|_| is_satellite(&entries[*at]));
                let anchor = whole.map_or(*at, |whole| whole as usize);
                let part = entries.get(anchor).map_or(Part::PreData, part);
                (part, anchor, *at)
            })
            .collect();
        order.sort_unstable();
        let order = order.into_iter().map(|(_, _, at)| at).collect();
        Self { export, order, owned }
    }

    fn contents(&self) -> Result<Vec<u8>> {
        let sealed = self.export.backup.sealed_part()?;
        let server =
            format!("{}.{}", sealed.server_version / 10_000, sealed.server_version % 10_000);
        let mut contents = Contents::new(&Header {
            taken_at: self.export.backup.clear.started_at.div_euclid(1_000_000),
            database: &self.export.database.name,
            server: &server,
            program: concat!("pgkeep ", env!("CARGO_PKG_VERSION")),
        })?;
        for (id, (kind, create)) in (1..).zip(SETTINGS) {
            contents.add(&Item { id, tag: kind, kind, create, ..Item::EMPTY })?;
        }
        let included: BTreeSet<usize> = self.order.iter().copied().collect();
        let mut privileges = Privileges::default();
        let below = TablesBelow::new(&self.export.entries);
        for at in &self.order {
            let entry = &self.export.entries[*at];
            let mut depends_on = dependencies(entry, &included)?;
            self.have_alone(entry, &below, &included, &mut depends_on)?;
            if entry.kind == Kind::Acl {
                let whole = self.export.whole_of(entry);
                depends_on.extend(privileges.before(entry, whole, id(*at)?));
            }
            self.add(&mut contents, *at, &depends_on, &self.export.database.encoding)?;
        }
        Ok(contents.finish())
    }

    /// Adds the tables that an entry must have alone, those below its own among them: `pg_restore`
    /// keeps apart what depends on the same table, and knows nothing of tables above and below.
    fn have_alone(
        &self,
        entry: &Entry,
        below: &TablesBelow,
        included: &BTreeSet<usize>,
        depends_on: &mut Vec<i32>,
    ) -> Result<()> {
        if entry.section != Section::PostData {
            return Ok(());
        }
        let known: HashSet<i32> = depends_on.iter().copied().collect();
        for (table, alone) in table_locks(&self.export.entries, entry, below) {
            let id = id(table)?;
            if alone && included.contains(&table) && !known.contains(&id) {
                depends_on.push(id);
            }
        }
        Ok(())
    }

    fn add(
        &self,
        contents: &mut Contents,
        at: usize,
        depends_on: &[i32],
        encoding: &str,
    ) -> Result<()> {
        let entry = &self.export.entries[at];
        let id = id(at)?;
        let owner = entry.owner.as_deref().filter(|_| self.owned.contains(&at));
        let file = entry.data.as_ref().map(|_| rows_file(entry, id));
        contents.add(&Item {
            id,
            tag: &tag(entry, self.export.whole_of(entry)),
            kind: kind(entry),
            part: if is_satellite(entry) { Part::Same } else { part(entry) },
            create: &create(entry),
            drop: &drop_sql(&self.export.entries, at, owner.is_some()),
            copy: &copy(entry, encoding),
            schema: entry.schema.as_deref(),
            tablespace: tablespace(entry, self.export.selection),
            access_method: access_method(entry, self.export.selection),
            relkind: relkind(entry),
            owner: owner.unwrap_or_default(),
            depends_on,
            file: file.as_deref(),
        })
    }
}

/// Privileges so far. `pg_restore` grants on several connections at once: a schema's before
/// those of what lies in it, for who hands on a privilege must get in; a table's before those
/// of its columns, which they would take away.
#[derive(Default)]
struct Privileges<'a> {
    /// The last item of each object, by its position.
    objects: HashMap<u32, i32>,
    /// The last item of each schema, by its name.
    schemas: HashMap<&'a str, i32>,
}

impl<'a> Privileges<'a> {
    /// Takes the item `id` of an entry that speaks about `whole`; returns those before it.
    fn before(
        &mut self,
        entry: &'a Entry,
        whole: Option<&'a Entry>,
        id: i32,
    ) -> impl Iterator<Item = i32> {
        let schema = entry.schema.as_deref().and_then(|schema| self.schemas.get(schema)).copied();
        if let Some(whole) = whole.filter(|whole| whole.kind == Kind::Schema) {
            self.schemas.insert(&whole.name, id);
        }
        let object = entry.belongs_to.and_then(|whole| self.objects.insert(whole, id));
        schema.into_iter().chain(object)
    }
}

fn is_satellite(entry: &Entry) -> bool {
    matches!(&entry.kind, EntryKind::Known(kind) if kind.is_satellite())
}

fn part(entry: &Entry) -> Part {
    match entry.section {
        Section::PreData => Part::PreData,
        Section::Data => Part::Data,
        Section::PostData => Part::PostData,
    }
}

/// What it is. A type that is never defined is no shell of another to `pg_restore`.
fn kind(entry: &Entry) -> &str {
    if entry.kind == Kind::ShellType && entry.drop.is_some() {
        return Kind::Type.as_str();
    }
    entry.kind.as_str()
}

/// Whether `pg_restore` knows how to set the owner: it names the object by its tag, or as
/// SQL that drops it does.
fn says_owner(entry: &Entry) -> bool {
    let EntryKind::Known(kind) = entry.kind else { return false };
    let known = match kind {
        Kind::Collation
        | Kind::Conversion
        | Kind::Database
        | Kind::Domain
        | Kind::EventTrigger
        | Kind::ForeignDataWrapper
        | Kind::ForeignTable
        | Kind::Language
        | Kind::MaterializedView
        | Kind::Publication
        | Kind::Schema
        | Kind::Sequence
        | Kind::Server
        | Kind::Statistics
        | Kind::Subscription
        | Kind::Table
        | Kind::TextSearchConfiguration
        | Kind::TextSearchDictionary
        | Kind::Type
        | Kind::View => true,
        Kind::Aggregate
        | Kind::Function
        | Kind::Operator
        | Kind::OperatorClass
        | Kind::OperatorFamily
        | Kind::Procedure
        | Kind::ShellType => entry.drop.is_some(),
        Kind::LargeObject => entry.large_objects.is_some(),
        _ => false,
    };
    known && entry.owner.is_some()
}

/// Ids of what an item needs, of what it belongs to first.
fn dependencies(entry: &Entry, included: &BTreeSet<usize>) -> Result<Vec<i32>> {
    let needed = entry.depends_on.iter().filter(|needed| Some(**needed) != entry.belongs_to);
    let all = entry.belongs_to.iter().chain(needed).map(|at| *at as usize);
    all.filter(|at| included.contains(at)).map(id).collect()
}

/// Its name. `pg_restore` takes what is said about large objects for data by its tag.
fn tag(entry: &Entry, whole: Option<&Entry>) -> String {
    match whole {
        Some(whole)
            if is_satellite(entry)
                && whole.kind == Kind::LargeObject
                && entry.kind != Kind::Comment =>
        {
            format!("LARGE OBJECT {}", whole.name)
        }
        _ => entry.name.clone(),
    }
}

fn create(entry: &Entry) -> String {
    match &entry.large_objects {
        // pg_restore makes each line a statement.
        Some(oids) if entry.kind == Kind::LargeObject => {
            oids.iter().map(|oid| format!("{oid}\n")).collect()
        }
        _ if entry.kind == Kind::Schema && entry.drop.is_none() => NOT_CREATED.to_owned(),
        _ => entry.create.clone(),
    }
}

/// Whether `pg_restore` finds where in a drop to put IF EXISTS, or knows that it cannot.
fn takes_if_exists(entry: &Entry, drop: &str) -> bool {
    match entry.kind {
        EntryKind::Known(
            Kind::CheckConstraint
            | Kind::Constraint
            | Kind::Default
            | Kind::ForeignKey
            | Kind::LargeObject,
        ) => true,
        _ if drop.starts_with("CREATE OR REPLACE VIEW ") => true,
        _ => drop.strip_prefix("DROP ").is_some_and(|rest| rest.starts_with(kind(entry))),
    }
}

fn drop_sql(entries: &[Entry], at: usize, owned: bool) -> String {
    let entry = &entries[at];
    match &entry.drop {
        Some(drop) if takes_if_exists(entry, drop) => format!("{}\n", drop.trim_end()),
        Some(_) => {
            let drops = drops(entries, &BTreeSet::from([at]), true).into_iter();
            let drops = drops.map(|(_, sql)| sql).collect::<Vec<_>>().join("\n");
            format!("{TAKES_NO_IF_EXISTS}{}\n", drops.trim_end())
        }
        None if owned => NOT_DROPPED.to_owned(),
        None => String::new(),
    }
}

fn copy(entry: &Entry, encoding: &str) -> String {
    let Some(data) = entry.data.as_ref().filter(|_| entry.kind != Kind::LargeObjectData) else {
        return String::new();
    };
    let schema = entry.schema.as_deref().unwrap_or_default();
    let target = rows_target(entry, data, schema, &entry.name);
    format!("COPY {} FROM stdin WITH (ENCODING {});\n", target.copy, literal(encoding))
}

/// The tablespace to set, or the database's own to go back to.
fn tablespace<'a>(entry: &'a Entry, selection: &Selection) -> Option<&'a str> {
    let kept = matches!(
        entry.kind,
        EntryKind::Known(Kind::Table | Kind::MaterializedView | Kind::Index | Kind::Constraint)
    );
    let named = entry.storage.as_ref().and_then(|storage| storage.tablespace.as_deref());
    (kept && !selection.is_without(Aspect::Tablespaces)).then_some(named.unwrap_or_default())
}

/// The access method to set; a partitioned table may have none.
fn access_method<'a>(entry: &'a Entry, selection: &Selection) -> Option<&'a str> {
    let default = match relkind(entry) {
        b'r' | b'm' => Some("heap"),
        b'p' => None,
        _ => return None,
    };
    let named = entry.storage.as_ref().and_then(|storage| storage.access_method.as_deref());
    named.or(default).filter(|_| !selection.is_without(Aspect::AccessMethods))
}

fn relkind(entry: &Entry) -> u8 {
    let partitioned = entry.relation.as_ref().is_some_and(|relation| relation.partitioned);
    match entry.kind {
        EntryKind::Known(Kind::Table) if partitioned => b'p',
        EntryKind::Known(Kind::Table) => b'r',
        EntryKind::Known(Kind::MaterializedView) => b'm',
        _ => 0,
    }
}
