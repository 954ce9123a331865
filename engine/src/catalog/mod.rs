//! The catalogs: facts read from the server, made into entries, put in order.
//!
//! ```text
//! catalog queries -> drafts (one an object, with its address) -> pg_depend edges
//!                 -> loops broken, sorted -> entries with positions
//! ```
//!
//! Nothing here moves rows. Facts are read within the caller's transaction, whose
//! snapshot and `search_path = ''` it relies on.

mod acl;
mod aggregates;
mod array;
mod context;
mod database;
mod default_privileges;
mod domains;
mod draft;
mod event_triggers;
mod extensions;
mod functions;
mod large_objects;
mod order;
mod properties;
mod publications;
mod satellites;
mod schemas;
mod select;
mod types;
mod unknown;

pub use database::DatabaseFacts;
pub use draft::{Address, Body, Draft, Element, Layout, Part, Privileges, Rows};
pub use select::{LockTarget, RelationKind, Selection, lock_targets};

use crate::Result;
use crate::postgres::Session;
use context::Context;
use pgkeep_format::entry::Entry;

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
    /// The table's OID; 0 where rows come from a query alone.
    pub oid: u32,
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
    let context = Context::new(session).await?;
    let database = database::facts(session).await?;
    let mut warnings = Vec::new();
    let drafts = read_drafts(&context, &database, &mut warnings).await?;
    let drafts = select::keep(drafts, &select::resolve(session, selection).await?);
    let (entries, tables) = order::into_entries(&context, drafts, &mut warnings).await?;
    Ok(Catalog { database, entries, tables, warnings })
}

/// Every object of the database, by class; one query or a few for each.
async fn read_drafts(
    context: &Context<'_>,
    database: &DatabaseFacts,
    warnings: &mut Vec<String>,
) -> Result<Vec<Draft>> {
    let mut drafts = schemas::read(context).await?;
    drafts.extend(extensions::read(context).await?);
    drafts.extend(types::read(context).await?);
    drafts.extend(domains::read(context).await?);
    drafts.extend(functions::read(context).await?);
    drafts.extend(aggregates::read(context).await?);
    drafts.extend(event_triggers::read(context).await?);
    drafts.extend(publications::read(context).await?);
    drafts.extend(default_privileges::read(context).await?);
    drafts.extend(large_objects::read(context).await?);
    drafts.extend(properties::read(context, database).await?);
    warnings.extend(unknown::warnings(context, &drafts).await?);
    drafts.extend(satellites::read(context, &drafts).await?);
    Ok(drafts)
}
