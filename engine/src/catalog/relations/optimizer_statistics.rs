//! Optimizer statistics: what `ANALYZE` found out about relations and columns, as calls of
//! the functions that put it back. Those are of PostgreSQL 18 and newer; what is read may be
//! of any server. Statistics of extended statistics objects cannot be put back and are not
//! here.
//!
//! A table without statistics has no draft, so that a restore knows what it has to analyze.

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::relations::index::{IndexFacts, Indexes};
use crate::catalog::relations::relation::{RelationFacts, Relations, Relkind};
use crate::catalog::{Address, Draft};
use crate::postgres::{Row, literal};
use pgkeep_format::entry::{Kind, Section};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use tokio::try_join;

/// Relations whose columns one query asks for; bounds what an answer takes in memory.
const RELATIONS_PER_QUERY: usize = 64;

/// Arguments that speak about a relation, by the columns of `pg_class` that hold them.
const OF_RELATION: &[(&str, &str)] =
    &[("relpages", "integer"), ("reltuples", "real"), ("relallvisible", "integer")];

/// The same, since PostgreSQL 18.
const ALL_FROZEN: &[(&str, &str)] = &[("relallfrozen", "integer")];

/// Arguments that speak about a column, by the columns of `pg_stats` that hold them.
const OF_COLUMN: &[(&str, &str)] = &[
    ("inherited", "boolean"),
    ("null_frac", "real"),
    ("avg_width", "integer"),
    ("n_distinct", "real"),
    ("most_common_vals", "text"),
    ("most_common_freqs", "real[]"),
    ("histogram_bounds", "text"),
    ("correlation", "real"),
    ("most_common_elems", "text"),
    ("most_common_elem_freqs", "real[]"),
    ("elem_count_histogram", "real[]"),
];

/// The same, of range types; in `pg_stats` since PostgreSQL 17.
const OF_RANGE: &[(&str, &str)] = &[
    ("range_length_histogram", "text"),
    ("range_empty_frac", "real"),
    ("range_bounds_histogram", "text"),
];

/// A relation that has statistics.
struct Subject<'a> {
    table: &'a RelationFacts,
    /// Absent for the table itself.
    index: Option<&'a IndexFacts>,
}

impl Subject<'_> {
    fn oid(&self) -> u32 {
        self.index.map_or(self.table.oid, |index| index.oid)
    }

    /// Whether `pg_stats` may tell of its columns.
    fn has_columns(&self) -> bool {
        self.index.is_none_or(|index| index.has_expressions)
    }

    fn name(&self) -> (&str, &str) {
        let of_index = self.index.map(|index| (index.schema.as_str(), index.name.as_str()));
        of_index.unwrap_or((&self.table.schema, &self.table.name))
    }

    /// What both functions are told first.
    fn named(&self, version: u32) -> String {
        let (schema, name) = self.name();
        format!(
            "'version', '{version}'::integer,\n    'schemaname', {},\n    'relname', {}",
            literal(schema),
            literal(name)
        )
    }
}

/// Reads drafts of the statistics of the `wanted` tables and their indexes.
pub(in crate::catalog) async fn read(
    context: &Context<'_>,
    relations: &Relations,
    indexes: &Indexes,
    wanted: &HashSet<u32>,
) -> Result<Vec<Draft>> {
    let subjects = subjects(relations, indexes, wanted);
    if subjects.is_empty() {
        return Ok(Vec::new());
    }
    let relation_calls = of_relations(context).await?;
    let mut drafts = Vec::new();
    let known = known_of_columns(context.major());
    let mut parts = subjects.chunks(RELATIONS_PER_QUERY);
    let mut asked: &[Subject<'_>] = parts.next().unwrap_or_default();
    let mut answer = ask_columns(context, asked, &known).await?;
    while !asked.is_empty() {
        let next = parts.next().unwrap_or_default();
        // The server answers the next query while this answer is made use of.
        let (next_answer, made) = try_join!(ask_columns(context, next, &known), async {
            let columns = arguments_of_columns(&answer, &known)?;
            Ok(of_subjects(context.version(), asked, &relation_calls, columns))
        })?;
        drafts.extend(made);
        (asked, answer) = (next, next_answer);
    }
    Ok(drafts)
}

/// Drafts of those of `subjects` of which enough is known.
fn of_subjects(
    version: u32,
    subjects: &[Subject<'_>],
    relation_calls: &HashMap<u32, RelationState>,
    mut columns: HashMap<u32, Vec<String>>,
) -> Vec<Draft> {
    let of = |subject: &Subject<'_>| {
        let state = relation_calls.get(&subject.oid())?;
        let columns = columns.remove(&subject.oid());
        if !tells_enough(subject, state, columns.is_some()) {
            return None;
        }
        let named = subject.named(version);
        let mut sql = call("pg_restore_relation_stats", &named, &state.arguments);
        for arguments in columns.unwrap_or_default() {
            sql += &call("pg_restore_attribute_stats", &named, &arguments);
        }
        Some(draft(subject, sql))
    };
    subjects.iter().filter_map(of).collect()
}

fn subjects<'a>(
    relations: &'a Relations,
    indexes: &'a Indexes,
    wanted: &HashSet<u32>,
) -> Vec<Subject<'a>> {
    let mut subjects: Vec<Subject<'a>> = relations
        .of(&[Relkind::Table, Relkind::Partitioned, Relkind::MaterializedView, Relkind::Foreign])
        .filter(|table| wanted.contains(&table.oid))
        .map(|table| Subject { table, index: None })
        .collect();
    for index in indexes.valid() {
        let table = relations.get(index.relation);
        if let Some(table) = table.filter(|table| wanted.contains(&table.oid)) {
            subjects.push(Subject { table, index: Some(index) });
        }
    }
    subjects
}

/// What `pg_class` says of a relation.
struct RelationState {
    /// Negative where nobody counted.
    rows: f64,
    arguments: String,
}

/// Whether there is anything to put back: a table that has rows, as far as is known, but no
/// statistics of columns was never analyzed, or the role may not read what was found.
fn tells_enough(subject: &Subject<'_>, state: &RelationState, has_columns: bool) -> bool {
    match subject.index {
        None => has_columns || state.rows == 0.0,
        Some(_) => has_columns || state.rows >= 0.0,
    }
}

async fn of_relations(context: &Context<'_>) -> Result<HashMap<u32, RelationState>> {
    let known = if context.major() >= 18 {
        [OF_RELATION, ALL_FROZEN].concat()
    } else {
        OF_RELATION.to_vec()
    };
    let sql = format!(
        "SELECT c.oid, {} \
         FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'm', 'f', 'i', 'I') AND c.relpersistence <> 't' \
         AND {USER_SCHEMA}",
        columns_of("c", &known)
    );
    let mut states = HashMap::new();
    for row in context.source.server()?.query(&sql).await? {
        let state =
            RelationState { rows: row.parse("reltuples")?, arguments: arguments(&row, &known)? };
        states.insert(row.parse("oid")?, state);
    }
    Ok(states)
}

/// Arguments that speak about a column, as far as a server of a major version keeps them.
fn known_of_columns(major: u32) -> Vec<(&'static str, &'static str)> {
    match major {
        ..=16 => OF_COLUMN.to_vec(),
        _ => [OF_COLUMN, OF_RANGE].concat(),
    }
}

/// Asks for the statistics of all columns of `subjects`.
async fn ask_columns(
    context: &Context<'_>,
    subjects: &[Subject<'_>],
    known: &[(&str, &str)],
) -> Result<Vec<Row>> {
    let subjects: Vec<&Subject<'_>> =
        subjects.iter().filter(|subject| subject.has_columns()).collect();
    if subjects.is_empty() {
        return Ok(Vec::new());
    }
    let oids: Vec<String> = subjects.iter().map(|subject| subject.oid().to_string()).collect();
    let names: Vec<String> = subjects.iter().map(|subject| literal(subject.name().1)).collect();
    // The list of names says nothing more, but the view lets it through to the index of
    // `pg_class`, and nothing else.
    let sql = format!(
        "SELECT c.oid, c.relkind, a.attnum, s.attname, {} \
         FROM pg_catalog.pg_stats s \
         JOIN pg_catalog.pg_namespace n ON n.nspname = s.schemaname \
         JOIN pg_catalog.pg_class c ON c.relname = s.tablename AND c.relnamespace = n.oid \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = s.attname \
         WHERE c.oid IN ({}) AND s.tablename = ANY (ARRAY[{}]::pg_catalog.name[]) \
         ORDER BY c.oid, a.attnum, s.inherited",
        columns_of("s", known),
        oids.join(", "),
        names.join(", ")
    );
    context.source.server()?.query(&sql).await
}

/// For each relation that has statistics of columns the arguments of each call, in order.
fn arguments_of_columns(
    answer: &[Row],
    known: &[(&str, &str)],
) -> Result<HashMap<u32, Vec<String>>> {
    let mut columns: HashMap<u32, Vec<String>> = HashMap::new();
    for row in answer {
        // The names of an index's columns are the server's choice and may differ in a copy.
        let column = match row.text("relkind")? {
            "i" | "I" => format!("'attnum', '{}'::smallint", row.parse::<i16>("attnum")?),
            _ => format!("'attname', {}", literal(row.text("attname")?)),
        };
        let arguments = format!("{column}{}", arguments(row, known)?);
        columns.entry(row.parse("oid")?).or_default().push(arguments);
    }
    Ok(columns)
}

/// The columns of a catalog or view that hold arguments.
fn columns_of(relation: &str, known: &[(&str, &str)]) -> String {
    let columns: Vec<String> =
        known.iter().map(|(column, _)| format!("{relation}.{column}")).collect();
    columns.join(", ")
}

/// Names, values and types of arguments, those that are NULL left out; a comma before each
/// of them.
fn arguments(row: &Row, known: &[(&str, &str)]) -> Result<String> {
    let mut text = String::new();
    for (name, type_name) in known {
        if let Some(value) = row.optional(name)? {
            // Writing into a String cannot fail.
            let _ = write!(text, ",\n    '{name}', {}::{type_name}", literal(value));
        }
    }
    Ok(text)
}

/// A call that answers whether the server took all of it.
fn call(function: &str, named: &str, arguments: &str) -> String {
    let separator = if arguments.starts_with(',') { "" } else { ",\n    " };
    format!("SELECT pg_catalog.{function}(\n    {named}{separator}{arguments}\n) AS taken;\n")
}

fn draft(subject: &Subject<'_>, sql: String) -> Draft {
    let (schema, name) = subject.name();
    let mut draft = subject.table.part(Kind::StatisticsData, Section::PostData, name);
    draft.schema = Some(schema.to_owned());
    draft.depends_on = vec![Address::new("pg_class", subject.oid())];
    draft.body = sql.into();
    draft
}
