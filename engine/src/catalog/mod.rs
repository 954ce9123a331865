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
mod base_types;
mod casts;
mod collations;
mod column;
mod constraint;
mod context;
mod database;
mod default_privileges;
mod dependency;
mod domains;
mod draft;
mod entries;
mod entry_selection;
mod event_triggers;
mod extensions;
mod foreign_data;
mod functions;
mod given_privileges;
mod graph;
mod index;
mod languages;
mod large_objects;
mod name_matcher;
mod operator_classes;
mod operators;
mod order;
mod pattern;
mod policy;
mod properties;
mod publications;
mod refresh;
mod relation;
mod repair;
mod rows_target;
mod satellites;
mod schemas;
mod select;
mod sequence;
mod statistics;
mod table;
mod table_element;
mod text_search;
mod trigger;
mod types;
mod unknown;
mod view;

pub use database::DatabaseFacts;
pub use draft::{Address, Body, Draft, Element, Layout, Part, Privileges, Rows};
pub use entry_selection::{EntrySelection, Turn, select_entries, turn};
pub use name_matcher::NameMatcher;
pub use rows_target::{RowsTarget, rows_target};
pub use select::{LockTarget, RelationKind, Selection, lock_targets};

use crate::Result;
use crate::postgres::Session;
use context::Context;
use pgkeep_format::entry::Entry;
use select::Selected;

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
    let context = Context::new(session).await?;
    let database = database::facts(session).await?;
    let selected = select::resolve(session, selection).await?;
    let mut warnings = selected.warnings.clone();
    let mut drafts = objects(&context, &database).await?;
    drafts.extend(relations(&context, selection, &selected, &mut warnings).await?);
    warnings.extend(unknown::warnings(&context, &drafts).await?);
    let mut drafts = select::keep(drafts, &selected);
    drafts.extend(satellites::read(&context, &drafts).await?);
    let dependencies = dependency::read(&context).await?;
    let (entries, tables) = entries::arrange(drafts, dependencies, selection, &mut warnings)?;
    Ok(Catalog { database, entries, tables, warnings })
}

/// Every object that is no part of a relation, by class; one query or a few for each.
async fn objects(context: &Context<'_>, database: &DatabaseFacts) -> Result<Vec<Draft>> {
    let mut drafts = schemas::read(context).await?;
    drafts.extend(extensions::read(context).await?);
    drafts.extend(types::read(context).await?);
    drafts.extend(domains::read(context).await?);
    drafts.extend(functions::read(context).await?);
    drafts.extend(aggregates::read(context).await?);
    drafts.extend(base_types::read(context).await?);
    drafts.extend(casts::read(context).await?);
    drafts.extend(collations::read(context).await?);
    drafts.extend(operators::read(context).await?);
    drafts.extend(operator_classes::read(context).await?);
    drafts.extend(languages::read(context).await?);
    drafts.extend(text_search::read(context).await?);
    drafts.extend(foreign_data::read(context).await?);
    drafts.extend(event_triggers::read(context).await?);
    drafts.extend(publications::read(context).await?);
    drafts.extend(default_privileges::read(context).await?);
    drafts.extend(large_objects::read(context).await?);
    drafts.extend(properties::read(context, database).await?);
    Ok(drafts)
}

/// Every relation and what belongs to relations, by class.
async fn relations(
    context: &Context<'_>,
    selection: &Selection,
    selected: &Selected,
    warnings: &mut Vec<String>,
) -> Result<Vec<Draft>> {
    let relations = relation::read(context).await?;
    let constraints = constraint::read(context).await?;
    let indexes = index::read(context).await?;
    let configuration = extensions::configuration_tables(context).await?;
    let mut drafts = table::drafts(context, &relations, &constraints, &configuration);
    drafts.extend(sequence::read(context, &relations).await?);
    let mut wanted = selected.relations.clone();
    if selection.schema_only {
        wanted.retain(|oid| configuration.iter().any(|(configured, _)| configured == oid));
    }
    drafts.extend(sequence::values(context, &relations, &wanted, &configuration).await?);
    drafts.extend(view::read(context, &relations).await?);
    drafts.extend(index::drafts(context, &relations, &indexes, warnings));
    drafts.extend(constraint::drafts(context, &relations, &constraints, &indexes));
    drafts.extend(trigger::read(context, &relations).await?);
    drafts.extend(policy::read(context, &relations).await?);
    drafts.extend(statistics::read(context, &relations).await?);
    Ok(drafts)
}
