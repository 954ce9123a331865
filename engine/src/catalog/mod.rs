//! The catalogs: facts read from the server, made into entries, put in order.
//!
//! ```text
//! catalog queries -> drafts (one an object, with its address) -> pg_depend edges
//!                 -> loops broken, sorted -> entries with positions
//! ```
//!
//! Nothing here moves rows. Facts are read within the caller's transaction, whose
//! snapshot and `search_path = ''` it relies on.

mod array;
pub mod capture;
mod context;
mod creation;
mod database;
mod draft;
mod drops;
mod globals;
mod image;
mod objects;
mod ordering;
mod relations;
mod rows_target;
mod satellites;
mod selection;
mod source;
mod table_locks;
mod tables_below;

pub use creation::{creation, creation_of_index, forget_storage};
pub use database::DatabaseFacts;
pub use draft::{Address, Body, Draft, Element, Layout, Part, Privileges, Rows};
pub use drops::drops;
pub use globals::{Globals, databases, may_read_passwords, read_globals};
pub use image::{SequenceStates, read_from_image, read_image};
pub use rows_target::{RowsTarget, rows_target};
pub use selection::{
    Aspect, LockTarget, NameMatcher, Provider, RelationKind, Selection, Subject, Turn,
    is_about_database, lock_targets, select_database, select_entries, turn,
};
pub use table_locks::table_locks;
pub use tables_below::TablesBelow;

use crate::Result;
use crate::postgres::{SESSION_ENCODING, Session};
use context::Context;
use pgkeep_format::entry::Entry;
use source::Source;
use tokio::try_join;

/// What a backup holds of a database, rows aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// The database itself.
    pub database: DatabaseFacts,
    /// Every object, in an order in which they can be created.
    pub entries: Vec<Entry>,
    /// The entries that have rows, in the order of `entries`.
    pub tables: Vec<TableToCopy>,
    /// What the backup leaves out or cannot promise, a sentence each.
    pub warnings: Vec<String>,
}

/// Where the rows of an entry come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableToCopy {
    /// Position of the entry ([`Kind::TableData`](pgkeep_format::entry::Kind::TableData) or
    /// [`Kind::LargeObjectData`](pgkeep_format::entry::Kind::LargeObjectData)) that the rows
    /// belong to.
    pub entry: u32,
    /// The table's schema, unquoted.
    pub schema: String,
    /// The table's name, unquoted.
    pub name: String,
    /// Where the rows come from and how many to expect.
    pub rows: Rows,
}

/// Reads everything that `selection` selects.
///
/// The caller has opened a transaction of which this sees one snapshot, has set
/// `search_path` to nothing, and has locked what [`lock_targets`] names.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when a pattern matches nothing,
/// [`ErrorKind::Privilege`](crate::ErrorKind::Privilege) when the role may not read what it
/// must, and whatever the server reports.
pub async fn read(session: &Session, selection: &Selection) -> Result<Catalog> {
    read_from(&Source::Server(session), selection).await
}

async fn read_from(source: &Source<'_>, selection: &Selection) -> Result<Catalog> {
    // What is independent is asked side by side: while an answer is made use of, the server works on
    // the next one.
    let (context, database, selected) = try_join!(
        Context::new(source),
        database::facts(source),
        selection::resolve(source, selection)
    )?;
    let mut warnings = selected.warnings.clone();
    let (mut drafts, of_relations, dependencies) = try_join!(
        objects::read(&context, &database),
        relations::read(&context, selection, &selected, &mut warnings),
        ordering::dependencies(&context)
    )?;
    drafts.extend(of_relations);
    if source.is_server() {
        warnings.extend(objects::unknown::warnings(&context, &drafts).await?);
    }
    let mut drafts = selection::keep(drafts, &selected);
    drafts.extend(satellites::read(&context, &drafts, &mut warnings).await?);
    // Binary rows have their text in the session's encoding: elsewhere they would be converted.
    if database.encoding != SESSION_ENCODING {
        let rows = drafts.iter_mut().filter_map(|draft| draft.rows.as_mut());
        rows.for_each(|rows| rows.types = None);
    }
    let (mut entries, tables) = ordering::arrange(drafts, dependencies, selection, &mut warnings)?;
    forget_storage(&mut entries, selection);
    Ok(Catalog { database, entries, tables, warnings })
}
