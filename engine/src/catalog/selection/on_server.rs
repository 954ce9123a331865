//! What is selected of a database: the server resolves the patterns.

use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::selection::server_names::{Candidate, Matcher, Missing};
use crate::catalog::source::Source;
use crate::catalog::{Address, Aspect, Draft, Provider, Selection};
use crate::postgres::{Session, qualified};
use crate::{Error, Result};
use pgkeep_format::entry::Kind;
use std::collections::{HashMap, HashSet};

/// Kinds of relation that can be locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelationKind {
    /// A plain table.
    Table,
    /// A partitioned table.
    PartitionedTable,
}

/// A table to lock in `ACCESS SHARE` mode before its definition is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LockTarget {
    /// Its OID.
    pub oid: u32,
    /// Its schema, unquoted.
    pub schema: String,
    /// Its name, unquoted.
    pub name: String,
    /// Its kind.
    pub kind: RelationKind,
}

/// What a [`Selection`] means in this database.
pub(in crate::catalog) struct Selected {
    scope: Scope,
    /// Relations that are selected.
    pub(in crate::catalog) relations: HashSet<u32>,
    excluded_schemas: HashSet<String>,
    excluded_rows: HashSet<u32>,
    /// Conditions that the rows of a relation must meet.
    pub(in crate::catalog) row_filters: HashMap<u32, String>,
    /// Servers whose foreign tables are backed up with their rows.
    pub(in crate::catalog) foreign_servers: HashSet<String>,
    /// The extensions that are selected; absent for all or none, as `scope` says.
    extensions: Option<HashSet<String>>,
    excluded_extensions: HashSet<String>,
    large_objects: Option<bool>,
    provider: Option<Provider>,
    /// Patterns that exclude nothing though they name one thing, a sentence each.
    pub(in crate::catalog) warnings: Vec<String>,
}

/// What is selected besides relations.
enum Scope {
    Everything,
    /// What lies in schemas.
    AllSchemas,
    Schemas(HashSet<String>),
    Relations,
}

/// Names the tables that a backup of `selection` must lock, in order of schema and name.
///
/// # Errors
/// As [`read`](crate::catalog::read).
pub async fn lock_targets(session: &Session, selection: &Selection) -> Result<Vec<LockTarget>> {
    let selected = resolve(&Source::Server(session), selection).await?;
    let rows = session
        .query(&format!(
            "SELECT c.oid, n.nspname, c.relname, c.relkind \
             FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND {USER_SCHEMA} \
             ORDER BY n.nspname, c.relname"
        ))
        .await?;
    let mut targets = Vec::new();
    for row in rows {
        let oid = row.parse("oid")?;
        if !selected.relations.contains(&oid) {
            continue;
        }
        let kind = match row.text("relkind")? {
            "p" => RelationKind::PartitionedTable,
            _ => RelationKind::Table,
        };
        targets.push(LockTarget {
            oid,
            schema: row.text("nspname")?.to_owned(),
            name: row.text("relname")?.to_owned(),
            kind,
        });
    }
    Ok(targets)
}

/// Asks the server what the patterns match.
pub(in crate::catalog) async fn resolve(
    source: &Source<'_>,
    selection: &Selection,
) -> Result<Selected> {
    if !selection.names_relations() {
        return resolve_visible(source, selection).await;
    }
    // A pattern without a schema means what the role sees by itself, as psql shows it.
    let session = source.server()?;
    session.execute("RESET search_path").await?;
    let selected = resolve_visible(source, selection).await?;
    session.execute("SET search_path = ''").await?;
    Ok(selected)
}

async fn resolve_visible(source: &Source<'_>, selection: &Selection) -> Result<Selected> {
    let matcher = Matcher { source };
    let mut warnings = Vec::new();
    let included = matcher.schemas(&selection.schemas, Missing::Error).await?;
    let excluded_schemas =
        matcher.schemas(&selection.exclude_schemas, Missing::Warning(&mut warnings)).await?;
    let mut tables = matcher.relations(&selection.tables, Missing::Error).await?;
    tables.extend(matcher.with_children(&selection.tables_and_children, Missing::Error).await?);
    let excluded = Exclusions::resolve(&matcher, selection, &mut warnings).await?;
    let mut selected = Selected {
        scope: Scope::Everything,
        relations: HashSet::new(),
        excluded_schemas,
        excluded_rows: excluded.rows,
        row_filters: row_filters(&matcher, selection).await?,
        foreign_servers: matcher
            .names("server", SERVERS, &selection.foreign_data, Missing::Error)
            .await?,
        extensions: None,
        excluded_extensions: matcher
            .names(
                "extension",
                EXTENSIONS,
                &selection.exclude_extensions,
                Missing::Warning(&mut warnings),
            )
            .await?,
        large_objects: selection.large_objects,
        provider: selection.provider,
        warnings: Vec::new(),
    };
    if !selection.extensions.is_empty() {
        let patterns = &selection.extensions;
        selected.extensions =
            Some(matcher.names("extension", EXTENSIONS, patterns, Missing::Error).await?);
    }
    let by_table = selection.selects_by_table();
    let mut owned = Vec::new();
    for relation in matcher.all().await? {
        if selection.is_without(Aspect::UnloggedRows) && relation.is_unlogged {
            selected.excluded_rows.insert(relation.oid);
        }
        if !selected.takes_of_provider(&relation, &mut warnings) {
            continue;
        }
        let in_scope = if by_table {
            tables.contains(&relation.oid)
        } else {
            let included = selection.schemas.is_empty() || included.contains(&relation.schema);
            included && !selected.excluded_schemas.contains(&relation.schema)
        };
        if in_scope && !excluded.relations.contains(&relation.oid) {
            selected.relations.insert(relation.oid);
        }
        owned.extend(relation.owner.map(|owner| (relation.oid, owner, relation.is_identity)));
    }
    // A sequence goes with the table that it belongs to, unless it is asked for by itself;
    // that of an identity column is nothing by itself.
    for (sequence, table, is_identity) in owned {
        if selected.relations.contains(&table) {
            selected.relations.insert(sequence);
        } else if is_identity || !tables.contains(&sequence) {
            selected.relations.remove(&sequence);
        }
    }
    if by_table {
        selected.scope = Scope::Relations;
    } else if !selection.schemas.is_empty() {
        selected.scope = Scope::Schemas(included);
    } else if !selection.extensions.is_empty() {
        selected.scope = Scope::AllSchemas;
    }
    selected.warnings = warnings;
    Ok(selected)
}

const EXTENSIONS: &str = "SELECT extname AS name FROM pg_catalog.pg_extension";
const SERVERS: &str = "SELECT srvname AS name FROM pg_catalog.pg_foreign_server";

/// Relations that are left out, and those whose rows are.
struct Exclusions {
    relations: HashSet<u32>,
    rows: HashSet<u32>,
}

impl Exclusions {
    async fn resolve(
        matcher: &Matcher<'_>,
        selection: &Selection,
        warnings: &mut Vec<String>,
    ) -> Result<Self> {
        let [tables, with_children, rows, rows_with_children] = [
            &selection.exclude_tables,
            &selection.exclude_tables_and_children,
            &selection.exclude_table_data,
            &selection.exclude_table_data_and_children,
        ];
        let mut relations = matcher.relations(tables, Missing::Warning(warnings)).await?;
        relations.extend(matcher.with_children(with_children, Missing::Warning(warnings)).await?);
        let mut rowless = matcher.relations(rows, Missing::Warning(warnings)).await?;
        rowless
            .extend(matcher.with_children(rows_with_children, Missing::Warning(warnings)).await?);
        Ok(Self { relations, rows: rowless })
    }
}

/// The conditions by table; each is tried first, so that a wrong one costs nothing.
async fn row_filters(matcher: &Matcher<'_>, selection: &Selection) -> Result<HashMap<u32, String>> {
    let mut filters = HashMap::new();
    for (pattern, condition) in &selection.row_filters {
        let found = matcher.relations(std::slice::from_ref(pattern), Missing::Error).await?;
        for relation in matcher.all().await?.iter().filter(|it| found.contains(&it.oid)) {
            let table = qualified(&relation.schema, &relation.name);
            // A line of its own: the condition may end with a comment.
            let sql = format!("SELECT FROM ONLY {table} WHERE ({condition}\n) LIMIT 0");
            matcher.source.server()?.query(&sql).await.map_err(|error| {
                let message = format!("condition for {table} is not valid: {condition}");
                Error::new(error.kind(), message).because(error)
            })?;
            filters.insert(relation.oid, format!("{condition}\n"));
        }
    }
    Ok(filters)
}

/// Leaves out what is not selected; satellites are not among `drafts` yet.
pub(in crate::catalog) fn keep(mut drafts: Vec<Draft>, selected: &Selected) -> Vec<Draft> {
    drafts.retain(|draft| selected.takes(draft));
    let there: HashSet<Address> = drafts
        .iter()
        .flat_map(|draft| {
            let inner = draft.inner_targets.iter().map(|(address, _)| *address);
            draft.address.into_iter().chain(draft.stands_for.iter().copied()).chain(inner)
        })
        .collect();
    // What joins two objects needs both.
    drafts.retain(|draft| {
        let joins = matches!(
            draft.kind,
            Kind::TableAttach
                | Kind::IndexAttach
                | Kind::SequenceOwnedBy
                | Kind::PublicationTable
                | Kind::PublicationSchema
        );
        !joins || draft.depends_on.iter().chain(&draft.belongs_to).all(|it| there.contains(it))
    });
    drafts
}

impl Selected {
    /// Whether a provider, if there is one, leaves this relation to the user.
    fn takes_of_provider(&mut self, relation: &Candidate, warnings: &mut Vec<String>) -> bool {
        let Some(provider) = self.provider else { return true };
        let own_rows = provider.owns_rows(&relation.schema, &relation.name);
        if own_rows {
            self.excluded_rows.insert(relation.oid);
        }
        // What the provider keeps from everybody; what others own and keep is an error.
        let kept = provider.shares_schema(&relation.schema) && !relation.is_readable;
        if kept && !own_rows {
            warnings.push(format!(
                "{}.{} is not in the backup: the role may not read it",
                relation.schema, relation.name
            ));
        }
        !kept && !provider.hides_schema(&relation.schema)
    }

    fn takes(&self, draft: &Draft) -> bool {
        let relation = |address: Option<Address>| {
            address.filter(|address| address.catalog == "pg_class").map(|address| address.oid)
        };
        let is_relation = matches!(
            draft.kind,
            Kind::Table | Kind::ForeignTable | Kind::View | Kind::MaterializedView | Kind::Sequence
        );
        let of = if is_relation { relation(draft.address) } else { relation(draft.belongs_to) };
        if let Some(oid) = of {
            let has_rows = draft.kind != Kind::TableData || !self.excluded_rows.contains(&oid);
            return self.relations.contains(&oid) && has_rows;
        }
        if let Some(rows) = &draft.rows
            && rows.oid != 0
        {
            return self.relations.contains(&rows.oid) && !self.excluded_rows.contains(&rows.oid);
        }
        match draft.kind {
            Kind::Extension => {
                return !self.excluded_extensions.contains(&draft.name)
                    && match &self.extensions {
                        Some(names) => names.contains(&draft.name),
                        None => matches!(self.scope, Scope::Everything),
                    };
            }
            Kind::LargeObject | Kind::LargeObjectData => {
                return self.large_objects.unwrap_or(matches!(self.scope, Scope::Everything));
            }
            _ => {}
        }
        let schema = match draft.kind {
            Kind::Schema => Some(&draft.name),
            _ => draft.schema.as_ref(),
        };
        match &self.scope {
            Scope::Everything => !schema.is_some_and(|name| self.leaves_out(name)),
            Scope::AllSchemas => schema.is_some_and(|name| !self.leaves_out(name)),
            Scope::Schemas(names) => {
                schema.is_some_and(|name| names.contains(name) && !self.leaves_out(name))
            }
            Scope::Relations => false,
        }
    }

    fn leaves_out(&self, schema: &str) -> bool {
        self.excluded_schemas.contains(schema)
            || self.provider.is_some_and(|provider| provider.hides_schema(schema))
    }
}
