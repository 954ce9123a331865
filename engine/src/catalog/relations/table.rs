//! Tables, foreign ones too, the attachment of partitions, and which tables have rows.

use crate::catalog::context::Context;
use crate::catalog::relations::column::ColumnFacts;
use crate::catalog::relations::constraint::{ConstraintFacts, Constraints, Contype};
use crate::catalog::relations::relation::{RelationFacts, Relations, Relkind};
use crate::catalog::relations::table_element::{self, Making};
use crate::catalog::selection::Selected;
use crate::catalog::{Address, Body, Draft, Layout, Rows};
use crate::postgres::identifier;
use pgkeep_format::entry::{Kind, Section};
use pgkeep_format::tuple;

/// What is asked about one table while its draft is made.
pub(in crate::catalog) struct Table<'a> {
    pub(in crate::catalog) facts: &'a RelationFacts,
    pub(in crate::catalog) constraints: &'a [ConstraintFacts],
    /// Of all relations, to find those of its parents.
    pub(in crate::catalog) all_constraints: &'a Constraints,
    /// Its parents, members of extensions among them.
    pub(in crate::catalog) parents: Vec<&'a RelationFacts>,
    /// Whether constraints make NOT NULL, as they do since version 18.
    pub(in crate::catalog) not_null_constraints: bool,
    pub(in crate::catalog) making: Making,
}

impl Table<'_> {
    /// The parents' columns of a name.
    pub(in crate::catalog) fn parent_columns(
        &self,
        name: &str,
    ) -> impl Iterator<Item = &ColumnFacts> {
        let columns = self.parents.iter().flat_map(|parent| parent.columns.iter());
        columns.filter(move |column| column.name == name)
    }
}

/// Drafts of tables and their rows.
///
/// `configuration` lists the tables of extensions whose rows are the user's, with the
/// condition that they meet.
pub(in crate::catalog) fn drafts(
    context: &Context<'_>,
    relations: &Relations,
    constraints: &Constraints,
    configuration: &[(u32, String)],
    selected: &Selected,
) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for facts in relations.of(&[Relkind::Table, Relkind::Partitioned, Relkind::Foreign]) {
        let parents =
            facts.parents.iter().filter_map(|parent| relations.with_members(*parent)).collect();
        let mut table = Table {
            facts,
            constraints: constraints.of(facts.oid),
            all_constraints: constraints,
            parents,
            not_null_constraints: context.major() >= 18,
            making: Making::Alone,
        };
        table.making = table_element::making(&table);
        drafts.push(draft(&table));
        drafts.extend(table_element::apart(&table));
        drafts.extend(attachment(&table));
        let filter = selected.row_filters.get(&facts.oid);
        match &facts.foreign {
            Some(foreign) if selected.foreign_servers.contains(&foreign.server) => {
                drafts.push(foreign_rows(facts, filter));
            }
            None if facts.relkind == Relkind::Table => {
                let mut draft = rows(facts, facts.address());
                if let Some(rows) = &mut draft.rows {
                    rows.filter = filter.cloned();
                }
                drafts.push(draft);
            }
            _ => {}
        }
    }
    for (oid, condition) in configuration {
        if let Some(facts) = relations.with_members(*oid)
            && let Some(extension) = facts.extension
            && facts.relkind == Relkind::Table
        {
            let mut draft = rows(facts, Address::new("pg_extension", extension));
            if let Some(rows) = &mut draft.rows {
                configure(facts, rows, condition);
            }
            drafts.push(draft);
        }
    }
    drafts
}

fn draft(table: &Table<'_>) -> Draft {
    let facts = table.facts;
    let kind = if facts.foreign.is_some() { Kind::ForeignTable } else { Kind::Table };
    let target = format!("{} {}", kind.as_str(), facts.qualified());
    let mut draft = Draft::new(kind, Section::PreData, Some(&facts.schema), &facts.name);
    draft.address = Some(facts.address());
    draft.stands_for = table_element::inner(table).map(|(address, _)| address).collect();
    draft.inner_targets = table_element::inner(table)
        .filter_map(|(address, target)| Some((address, target?)))
        .collect();
    draft.owner = Some(facts.owner.clone());
    draft.privileges = facts.privileges(&format!("TABLE {}", facts.qualified()));
    draft.drop = Some(format!("DROP {target};"));
    draft.target = Some(target);
    let unlogged = if facts.unlogged { "UNLOGGED " } else { "" };
    let of_type = facts.of_type.as_ref().map(|name| format!(" OF {name}"));
    draft.body = Body::Elements {
        before: format!(
            "CREATE {unlogged}{} {}{}",
            kind.as_str(),
            facts.qualified(),
            of_type.as_deref().unwrap_or_default()
        ),
        layout: if of_type.is_some() { Layout::TYPED_TABLE } else { Layout::TABLE },
        elements: table_element::elements(table),
        after: format!("{};\n{}", clauses(table), statements(table)),
    };
    let mut shape = facts.shape();
    if let Some(key) = table.constraints.iter().find(|key| key.contype == Contype::PrimaryKey) {
        let columns = key.columns.iter().filter_map(|number| facts.column(*number));
        shape.primary_key = columns.map(|column| column.name.clone()).collect();
    }
    draft.relation = Some(Box::new(shape));
    draft.storage = facts.storage();
    draft.parents = table.parents.iter().map(|parent| parent.address()).collect();
    draft
}

/// What follows the list of columns and constraints.
fn clauses(table: &Table<'_>) -> String {
    let facts = table.facts;
    let mut text = String::new();
    if table.making == Making::Inherits {
        let parents: Vec<String> = table.parents.iter().map(|parent| parent.qualified()).collect();
        text += &format!("\nINHERITS ({})", parents.join(", "));
    }
    if let Some(key) = &facts.partition_key {
        text += &format!("\nPARTITION BY {key}");
    }
    if let Some(foreign) = &facts.foreign {
        text += &format!("\nSERVER {}", identifier(&foreign.server));
        if let Some(options) = &foreign.options {
            text += &format!("\nOPTIONS ({options})");
        }
    }
    text += &facts.with_options();
    text
}

/// Statements that complete the table.
fn statements(table: &Table<'_>) -> String {
    let facts = table.facts;
    let name = facts.qualified();
    let mut text = String::new();
    if table.making == Making::AlteredToInherit {
        for parent in &table.parents {
            text += &format!("ALTER TABLE ONLY {name} INHERIT {};\n", parent.qualified());
        }
    }
    text += &table_element::statements(table);
    if facts.foreign.is_some() {
        return text + &column_settings(facts, "FOREIGN TABLE");
    }
    text += &column_settings(facts, "TABLE");
    match facts.replica_identity.as_str() {
        "n" => text += &format!("ALTER TABLE ONLY {name} REPLICA IDENTITY NOTHING;\n"),
        "f" => text += &format!("ALTER TABLE ONLY {name} REPLICA IDENTITY FULL;\n"),
        _ => {}
    }
    if facts.force_row_security {
        text += &format!("ALTER TABLE ONLY {name} FORCE ROW LEVEL SECURITY;\n");
    }
    text
}

/// Settings of columns that only ALTER can give; `kind` is what ALTER calls the relation.
pub(in crate::catalog) fn column_settings(facts: &RelationFacts, kind: &str) -> String {
    let only = if kind.ends_with("TABLE") { "ONLY " } else { "" };
    let mut text = String::new();
    for column in &facts.columns {
        let alter = format!(
            "ALTER {kind} {only}{} ALTER COLUMN {}",
            facts.qualified(),
            identifier(&column.name)
        );
        if let Some(target) = column.statistics {
            text += &format!("{alter} SET STATISTICS {target};\n");
        }
        if let Some(storage) = column.storage {
            text += &format!("{alter} SET STORAGE {storage};\n");
        }
        if let Some(compression) = column.compression {
            text += &format!("{alter} SET COMPRESSION {compression};\n");
        }
        if let Some(options) = &column.options {
            text += &format!("{alter} SET ({options});\n");
        }
        if let Some(options) = &column.foreign_options {
            text += &format!("{alter} OPTIONS ({options});\n");
        }
    }
    text
}

fn attachment(table: &Table<'_>) -> Option<Draft> {
    let facts = table.facts;
    let bound = facts.partition_bound.as_ref()?;
    let parent = table.parents.first()?;
    let mut draft = facts.part(Kind::TableAttach, Section::PreData, &facts.name);
    draft.address = Some(Address::new("pg_inherits", facts.oid));
    draft.depends_on = vec![facts.address(), parent.address()];
    draft.body = format!(
        "ALTER TABLE ONLY {} ATTACH PARTITION {} {bound};\n",
        parent.qualified(),
        facts.qualified()
    )
    .into();
    Some(draft)
}

/// Restricts rows to those that an extension calls the user's. Its `condition` is SQL that
/// follows the table's name, by custom a WHERE clause.
fn configure(facts: &RelationFacts, rows: &mut Rows, condition: &str) {
    let condition = condition.trim();
    match condition.split_at_checked(5) {
        Some((word, rest))
            if word.eq_ignore_ascii_case("where") && rest.starts_with([' ', '\n', '\t', '(']) =>
        {
            rows.filter = Some(rest.trim().to_owned());
        }
        _ if condition.is_empty() => {}
        _ => {
            let columns: Vec<String> =
                rows.columns.iter().map(|column| identifier(column)).collect();
            rows.query = Some(format!(
                "SELECT {} FROM ONLY {} {condition}",
                columns.join(", "),
                facts.qualified()
            ));
        }
    }
}

/// Rows that another server is asked for.
fn foreign_rows(facts: &RelationFacts, filter: Option<&String>) -> Draft {
    let mut draft = rows(facts, facts.address());
    if let Some(rows) = &mut draft.rows {
        let columns: Vec<String> = rows.columns.iter().map(|name| identifier(name)).collect();
        let filter = filter.map_or_else(String::new, |filter| format!(" WHERE ({filter})"));
        rows.query =
            Some(format!("SELECT {} FROM ONLY {}{filter}", columns.join(", "), facts.qualified()));
    }
    draft
}

fn rows(facts: &RelationFacts, belongs_to: Address) -> Draft {
    let mut draft = Draft::new(Kind::TableData, Section::Data, Some(&facts.schema), &facts.name);
    draft.belongs_to = Some(belongs_to);
    draft.depends_on = vec![belongs_to];
    let stored = || facts.columns.iter().filter(|column| column.generated.is_empty());
    let types: Vec<u32> = stored().map(|column| column.sent_as).collect();
    let is_binary = !types.is_empty() && types.iter().all(|oid| tuple::is_type(*oid));
    draft.rows = Some(Box::new(Rows {
        oid: facts.oid,
        columns: stored().map(|column| column.name.clone()).collect(),
        numbers: stored().map(|column| column.number).collect(),
        types: is_binary.then_some(types),
        query: None,
        filter: None,
        pages: facts.pages,
        toast_pages: facts.toast_pages,
        is_heap: facts.access_method.as_deref() == Some("heap"),
    }));
    draft
}
