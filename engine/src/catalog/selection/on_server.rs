//! What is selected of a database: the server resolves the patterns.

use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::selection::pattern::{self, Pattern};
use crate::catalog::{Address, Draft, Provider, Selection};
use crate::postgres::{Session, literal};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::Kind;
use std::collections::HashSet;

/// Kinds of relation that can be locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelationKind {
    /// A plain table.
    Table,
    /// A partitioned table.
    PartitionedTable,
}

/// A table to lock in `ACCESS SHARE` mode before its definition is read.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    provider: Option<Provider>,
    /// Patterns that exclude nothing though they name one thing, a sentence each.
    pub(in crate::catalog) warnings: Vec<String>,
}

/// What is selected besides relations.
enum Scope {
    Everything,
    Schemas(HashSet<String>),
    Relations,
}

/// Names the tables that a backup of `selection` must lock, in order of schema and name.
///
/// # Errors
/// As [`read`](crate::catalog::read).
pub async fn lock_targets(session: &Session, selection: &Selection) -> Result<Vec<LockTarget>> {
    let selected = resolve(session, selection).await?;
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
    session: &Session,
    selection: &Selection,
) -> Result<Selected> {
    let needs_path = [&selection.tables, &selection.exclude_tables, &selection.exclude_table_data]
        .iter()
        .any(|patterns| !patterns.is_empty());
    if !needs_path {
        return resolve_visible(session, selection).await;
    }
    // A pattern without a schema means what the role sees by itself, as psql shows it.
    session.execute("RESET search_path").await?;
    let selected = resolve_visible(session, selection).await?;
    session.execute("SET search_path = ''").await?;
    Ok(selected)
}

async fn resolve_visible(session: &Session, selection: &Selection) -> Result<Selected> {
    let matcher = Matcher { session };
    let included = matcher.schemas(&selection.schemas, Missing::Error).await?;
    let mut warnings = Vec::new();
    let excluded_schemas =
        matcher.schemas(&selection.exclude_schemas, Missing::Warning(&mut warnings)).await?;
    let tables = matcher.relations(&selection.tables, Missing::Error).await?;
    let excluded =
        matcher.relations(&selection.exclude_tables, Missing::Warning(&mut warnings)).await?;
    let mut excluded_rows =
        matcher.relations(&selection.exclude_table_data, Missing::Warning(&mut warnings)).await?;
    let mut relations = HashSet::new();
    let mut owned = Vec::new();
    for relation in matcher.all().await? {
        if let Some(provider) = selection.provider {
            if provider.hides_schema(&relation.schema) {
                continue;
            }
            if provider.owns_rows(&relation.schema, &relation.name) {
                excluded_rows.insert(relation.oid);
            }
            // What the provider keeps from everybody; what others own and keep is an error.
            if provider.shares_schema(&relation.schema) && !relation.is_readable {
                if !provider.owns_rows(&relation.schema, &relation.name) {
                    warnings.push(format!(
                        "{}.{} is not in the backup: the role may not read it",
                        relation.schema, relation.name
                    ));
                }
                continue;
            }
        }
        let in_scope = if !selection.tables.is_empty() {
            tables.contains(&relation.oid)
        } else {
            let included = selection.schemas.is_empty() || included.contains(&relation.schema);
            included && !excluded_schemas.contains(&relation.schema)
        };
        if in_scope && !excluded.contains(&relation.oid) {
            relations.insert(relation.oid);
        }
        owned.extend(relation.owner.map(|owner| (relation.oid, owner, relation.is_identity)));
    }
    // A sequence goes with the table that it belongs to, unless it is asked for by itself;
    // that of an identity column is nothing by itself.
    for (sequence, table, is_identity) in owned {
        if relations.contains(&table) {
            relations.insert(sequence);
        } else if is_identity || !tables.contains(&sequence) {
            relations.remove(&sequence);
        }
    }
    let scope = if !selection.tables.is_empty() {
        Scope::Relations
    } else if selection.schemas.is_empty() {
        Scope::Everything
    } else {
        Scope::Schemas(included)
    };
    let provider = selection.provider;
    Ok(Selected { scope, relations, excluded_schemas, excluded_rows, provider, warnings })
}

/// What to do about a pattern that matches nothing.
enum Missing<'a> {
    /// What is asked for must be there.
    Error,
    /// What is not wanted may be absent, but a plain name is perhaps misspelt.
    Warning(&'a mut Vec<String>),
}

impl Missing<'_> {
    fn report(&mut self, what: &str, pattern: &str) -> Result<()> {
        match self {
            Missing::Error => {
                let message = format!("no {what} matches \"{pattern}\"");
                let error = Error::new(ErrorKind::NotFound, message);
                Err(if what == "table" && !pattern.contains('.') {
                    error.hint(format!(
                        "Without a schema only what search_path shows is found; \
                         try \"*.{pattern}\"."
                    ))
                } else {
                    error
                })
            }
            Missing::Warning(warnings) => {
                if pattern::is_exact(pattern) {
                    warnings
                        .push(format!("no {what} matches \"{pattern}\", which is to be left out"));
                }
                Ok(())
            }
        }
    }
}

struct Matcher<'a> {
    session: &'a Session,
}

/// A relation as selection sees it.
struct Candidate {
    oid: u32,
    schema: String,
    name: String,
    /// Whether the role may read it.
    is_readable: bool,
    /// The table that a sequence belongs to.
    owner: Option<u32>,
    /// Whether that table's column makes the sequence.
    is_identity: bool,
}

impl Matcher<'_> {
    async fn all(&self) -> Result<Vec<Candidate>> {
        let sql = format!(
            "SELECT c.oid, n.nspname, c.relname, d.refobjid, d.deptype, \
                    pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND CASE c.relkind \
                      WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT') \
                      ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END AS readable \
             FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_depend d ON c.relkind = 'S' \
               AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
               AND d.objid = c.oid AND d.objsubid = 0 \
               AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
               AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') \
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't' \
             AND {USER_SCHEMA}"
        );
        let rows = self.session.query(&sql).await?;
        rows.iter()
            .map(|row| {
                let owner = row.optional("refobjid")?.map(|_| row.parse("refobjid")).transpose()?;
                Ok(Candidate {
                    oid: row.parse("oid")?,
                    schema: row.text("nspname")?.to_owned(),
                    name: row.text("relname")?.to_owned(),
                    is_readable: row.bool("readable")?,
                    owner,
                    is_identity: row.optional("deptype")? == Some("i"),
                })
            })
            .collect()
    }

    async fn schemas(
        &self,
        patterns: &[String],
        mut missing: Missing<'_>,
    ) -> Result<HashSet<String>> {
        let mut found = HashSet::new();
        for text in patterns {
            let pattern = pattern::for_schema(text)?;
            self.check_database(text, &pattern).await?;
            let sql = format!(
                "SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE {} AND {USER_SCHEMA}",
                matches("n.nspname", &pattern.name)
            );
            let rows = self.session.query(&sql).await?;
            if rows.is_empty() {
                missing.report("schema", text)?;
            }
            for row in rows {
                found.insert(row.text("nspname")?.to_owned());
            }
        }
        Ok(found)
    }

    async fn relations(
        &self,
        patterns: &[String],
        mut missing: Missing<'_>,
    ) -> Result<HashSet<u32>> {
        let mut found = HashSet::new();
        for text in patterns {
            let pattern = pattern::for_relation(text)?;
            self.check_database(text, &pattern).await?;
            let place = match &pattern.schema {
                Some(schema) => matches("n.nspname", schema),
                None => "pg_catalog.pg_table_is_visible(c.oid)".to_owned(),
            };
            let sql = format!(
                "SELECT c.oid FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't' \
                 AND {} AND {place} AND {USER_SCHEMA}",
                matches("c.relname", &pattern.name)
            );
            let rows = self.session.query(&sql).await?;
            if rows.is_empty() {
                missing.report("table", text)?;
            }
            for row in rows {
                found.insert(row.parse("oid")?);
            }
        }
        Ok(found)
    }

    async fn check_database(&self, text: &str, pattern: &Pattern) -> Result<()> {
        let Some(database) = &pattern.database else { return Ok(()) };
        let sql = format!("SELECT WHERE {}", matches("pg_catalog.current_database()", database));
        if self.session.query(&sql).await?.is_empty() {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("pattern \"{text}\" names another database"),
            )
            .hint("A backup is of the database that it connects to."));
        }
        Ok(())
    }
}

/// `column ~ expression`, compared as text in the database's collation.
fn matches(column: &str, expression: &str) -> String {
    format!(
        "{column}::pg_catalog.text OPERATOR(pg_catalog.~) {} COLLATE pg_catalog.\"default\"",
        literal(expression)
    )
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
        !joins || draft.depends_on.iter().all(|address| there.contains(address))
    });
    drafts
}

impl Selected {
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
        let schema = match draft.kind {
            Kind::Schema => Some(&draft.name),
            _ => draft.schema.as_ref(),
        };
        match &self.scope {
            Scope::Everything => !schema.is_some_and(|name| self.leaves_out(name)),
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
