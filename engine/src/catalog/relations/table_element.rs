//! Columns and constraints within `CREATE TABLE`, and what inheritance makes of them.

use crate::catalog::relations::column::{ColumnFacts, DefaultFacts};
use crate::catalog::relations::constraint::{ConstraintFacts, Contype};
use crate::catalog::relations::table::Table;
use crate::catalog::{Address, Draft, Element, Part};
use crate::postgres::identifier;
use pgkeep_format::entry::{Kind, Section};

/// How a table comes to its parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::catalog) enum Making {
    /// It has none, or is a partition, attached later: all its columns are its own.
    Alone,
    /// By `INHERITS`, which puts the parents' columns first.
    Inherits,
    /// By `ALTER TABLE … INHERIT`: its columns stand in another order.
    AlteredToInherit,
}

/// Finds out how the table was made.
pub(in crate::catalog) fn making(table: &Table<'_>) -> Making {
    let facts = table.facts;
    if facts.is_partition || table.parents.is_empty() {
        return Making::Alone;
    }
    let mut order: Vec<&str> = Vec::new();
    let own = facts.columns.iter();
    let inherited = table.parents.iter().flat_map(|parent| parent.columns.iter());
    for column in inherited.chain(own) {
        if !order.contains(&column.name.as_str()) {
            order.push(&column.name);
        }
    }
    if order.into_iter().eq(facts.columns.iter().map(|column| column.name.as_str())) {
        return Making::Inherits;
    }
    // ALTER leaves all that was there before local; only then is it how this was made.
    let local = facts.columns.iter().all(|column| column.is_local)
        && table.constraints.iter().all(|constraint| constraint.is_local);
    if local { Making::AlteredToInherit } else { Making::Inherits }
}

/// All elements of the list: columns, then constraints.
pub(in crate::catalog) fn elements(table: &Table<'_>) -> Vec<Element> {
    let columns = table.facts.columns.iter().map(|column| column_element(table, column));
    let not_nulls =
        table.facts.columns.iter().filter_map(|column| inherited_not_null(table, column));
    let checks = table.constraints.iter().filter_map(|constraint| check(table, constraint));
    columns.chain(not_nulls).chain(checks).collect()
}

/// Drafts of NOT NULL constraints that are not valid, which no list can hold.
pub(in crate::catalog) fn apart<'a>(table: &'a Table<'_>) -> impl Iterator<Item = Draft> + 'a {
    let invalid = table.constraints.iter().filter(|constraint| {
        constraint.contype == Contype::NotNull && !constraint.validated && constraint.is_local
    });
    invalid.filter_map(|constraint| {
        let column = table.facts.column(*constraint.columns.first()?)?;
        Some(alone(
            table,
            constraint,
            Kind::Constraint,
            &format!(
                "NOT NULL {}{} NOT VALID",
                identifier(&column.name),
                if constraint.no_inherit { " NO INHERIT" } else { "" }
            ),
        ))
    })
}

/// Addresses that lie in the table itself, with what COMMENT calls them.
pub(in crate::catalog) fn inner<'a>(
    table: &'a Table<'_>,
) -> impl Iterator<Item = (Address, Option<String>)> + 'a {
    let facts = table.facts;
    let not_nulls = table
        .constraints
        .iter()
        .filter(|constraint| constraint.contype == Contype::NotNull && constraint.validated)
        .map(|constraint| (constraint.address(), Some(constraint.target(facts))));
    let generated = facts
        .columns
        .iter()
        .filter(|column| !column.generated.is_empty())
        .filter_map(|column| column.default.as_ref())
        .map(|default| (Address::new("pg_attrdef", default.oid), None));
    not_nulls.chain(generated)
}

/// Statements that undo or complete what inheritance gave to columns.
pub(in crate::catalog) fn statements(table: &Table<'_>) -> String {
    let mut text = String::new();
    if table.making != Making::Inherits {
        return text;
    }
    for column in table.facts.columns.iter().filter(|column| column.inherited > 0) {
        let alter = format!(
            "ALTER TABLE ONLY {} ALTER COLUMN {}",
            table.facts.qualified(),
            identifier(&column.name)
        );
        let parent_default = table
            .parent_columns(&column.name)
            .any(|parent| parent.default.is_some() && parent.generated.is_empty());
        if column.default.is_none() && parent_default {
            text += &format!("{alter} DROP DEFAULT;\n");
        }
        let own_not_null = column.not_null && !inherits_not_null(table, column);
        if own_not_null && !column.is_local && !table.not_null_constraints {
            text += &format!("{alter} SET NOT NULL;\n");
        }
    }
    text
}

/// Whether the list must define the column: it is not only inherited.
fn is_defined_here(table: &Table<'_>, column: &ColumnFacts) -> bool {
    column.is_local || table.making != Making::Inherits
}

fn column_element(table: &Table<'_>, column: &ColumnFacts) -> Element {
    let part = default_part(table, column);
    if !is_defined_here(table, column) {
        return Element { text: String::new(), part };
    }
    let not_null = not_null(table, column);
    let generated = generated(table, column);
    let name = identifier(&column.name);
    let text = if table.facts.of_type.is_none() {
        let collation = column.collation.as_ref().map(|name| format!(" COLLATE {name}"));
        format!("{name} {}{}{generated}{not_null}", column.type_name, collation.unwrap_or_default())
    } else if part.is_some() || !generated.is_empty() || !not_null.is_empty() {
        format!("{name} WITH OPTIONS{generated}{not_null}")
    } else {
        String::new()
    };
    Element { text, part }
}

fn default_part(table: &Table<'_>, column: &ColumnFacts) -> Option<Box<Part>> {
    let default = column.default.as_ref().filter(|_| column.generated.is_empty())?;
    Some(Box::new(Part {
        text: format!(" DEFAULT {}", default.expression),
        alone: default_alone(table.facts, column, default),
        apart: !is_defined_here(table, column),
    }))
}

/// The draft of a default that is set after its table or view.
pub(in crate::catalog) fn default_alone(
    facts: &crate::catalog::relations::relation::RelationFacts,
    column: &ColumnFacts,
    default: &DefaultFacts,
) -> Draft {
    let mut draft = facts.part(Kind::Default, Section::PreData, &column.name);
    let alter =
        format!("ALTER TABLE ONLY {} ALTER COLUMN {}", facts.qualified(), identifier(&column.name));
    draft.address = Some(Address::new("pg_attrdef", default.oid));
    draft.body = format!("{alter} SET DEFAULT {};\n", default.expression).into();
    draft.drop = Some(format!("{alter} DROP DEFAULT;"));
    draft
}

fn generated(table: &Table<'_>, column: &ColumnFacts) -> String {
    let Some(default) = column.default.as_ref().filter(|_| !column.generated.is_empty()) else {
        return String::new();
    };
    // Servers before 16 refuse to be told again what the parent says.
    let inherited = table.making == Making::Inherits
        && table.parent_columns(&column.name).any(|parent| {
            parent.generated == column.generated
                && parent.default.as_ref().map(|default| &default.expression)
                    == Some(&default.expression)
        });
    if inherited {
        return String::new();
    }
    let kept = if column.generated == "s" { "STORED" } else { "VIRTUAL" };
    format!(" GENERATED ALWAYS AS ({}) {kept}", default.expression)
}

/// `NOT NULL` of a column that the list defines.
fn not_null(table: &Table<'_>, column: &ColumnFacts) -> String {
    if !table.not_null_constraints {
        let inherited = table.making == Making::Inherits && inherits_not_null(table, column);
        return if column.not_null && !inherited { " NOT NULL".to_owned() } else { String::new() };
    }
    own_not_null(table, column).map_or_else(String::new, |constraint| {
        format!(
            " CONSTRAINT {} NOT NULL{}",
            identifier(&constraint.name),
            if constraint.no_inherit { " NO INHERIT" } else { "" }
        )
    })
}

/// A NOT NULL constraint of its own on a column that is only inherited.
fn inherited_not_null(table: &Table<'_>, column: &ColumnFacts) -> Option<Element> {
    if is_defined_here(table, column) {
        return None;
    }
    let constraint = own_not_null(table, column)?;
    let text = format!(
        "CONSTRAINT {} NOT NULL {}{}",
        identifier(&constraint.name),
        identifier(&column.name),
        if constraint.no_inherit { " NO INHERIT" } else { "" }
    );
    Some(Element { text, part: None })
}

/// The NOT NULL constraint of a column that no parent will bring: it is local, or the
/// parents' are not valid, and so are made after the rows.
fn own_not_null<'a>(table: &'a Table<'_>, column: &ColumnFacts) -> Option<&'a ConstraintFacts> {
    let constraint = valid_not_null(table.constraints, column)?;
    let brought = table.parents.iter().any(|parent| {
        let theirs = parent.columns.iter().find(|theirs| theirs.name == column.name);
        let constraints = table.all_constraints.of(parent.oid);
        theirs.is_some_and(|theirs| valid_not_null(constraints, theirs).is_some())
    });
    let own = constraint.is_local || table.making == Making::Alone || !brought;
    own.then_some(constraint)
}

fn valid_not_null<'a>(
    constraints: &'a [ConstraintFacts],
    column: &ColumnFacts,
) -> Option<&'a ConstraintFacts> {
    constraints.iter().find(|constraint| {
        constraint.contype == Contype::NotNull
            && constraint.validated
            && constraint.columns == [column.number]
    })
}

fn inherits_not_null(table: &Table<'_>, column: &ColumnFacts) -> bool {
    column.inherited > 0 && table.parent_columns(&column.name).any(|parent| parent.not_null)
}

/// A CHECK constraint: in the list, or apart where it is not valid yet.
fn check(table: &Table<'_>, constraint: &ConstraintFacts) -> Option<Element> {
    let inherited = !constraint.is_local;
    // A partition must have what it will be checked for when it is attached; one that is
    // not valid comes from the partitioned table later.
    let skipped = inherited && (table.making != Making::Alone || !constraint.validated);
    if constraint.contype != Contype::Check || skipped {
        return None;
    }
    let part = Part {
        text: format!("CONSTRAINT {} {}", identifier(&constraint.name), constraint.definition),
        alone: alone(table, constraint, Kind::CheckConstraint, &constraint.definition),
        apart: !constraint.validated,
    };
    Some(Element { text: String::new(), part: Some(Box::new(part)) })
}

/// The draft of a constraint that is made after its table. Not ONLY for the table: its
/// children take part.
fn alone(table: &Table<'_>, constraint: &ConstraintFacts, kind: Kind, definition: &str) -> Draft {
    let facts = table.facts;
    let mut draft = facts.part(kind, Section::PostData, &constraint.name);
    let (table, name) = (facts.qualified(), identifier(&constraint.name));
    draft.address = Some(constraint.address());
    draft.target = Some(constraint.target(facts));
    draft.body = format!("ALTER TABLE {table}\n    ADD CONSTRAINT {name} {definition};\n").into();
    draft.drop = Some(format!("ALTER TABLE {table} DROP CONSTRAINT {name};"));
    draft
}
