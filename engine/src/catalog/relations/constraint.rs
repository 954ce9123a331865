//! Constraints of relations: facts for all readers, and drafts of those that are made
//! after their table: primary keys, unique and exclusion constraints, foreign keys.

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::relations::index::{self, IndexFacts, Indexes};
use crate::catalog::relations::relation::{RelationFacts, Relations, Relkind};
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft};
use crate::postgres::{Row, identifier};
use pgkeep_format::entry::{ByIndex, Kind, Section};
use std::collections::HashMap;

/// `pg_constraint.contype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::catalog) enum Contype {
    Check,
    NotNull,
    PrimaryKey,
    Unique,
    Exclusion,
    ForeignKey,
}

/// One constraint.
#[derive(Debug, Clone)]
pub(in crate::catalog) struct ConstraintFacts {
    pub(in crate::catalog) oid: u32,
    pub(in crate::catalog) name: String,
    pub(in crate::catalog) contype: Contype,
    pub(in crate::catalog) relation: u32,
    pub(in crate::catalog) deferrable: bool,
    pub(in crate::catalog) deferred: bool,
    pub(in crate::catalog) validated: bool,
    pub(in crate::catalog) is_local: bool,
    pub(in crate::catalog) no_inherit: bool,
    /// The index that enforces it, 0 for none; of a foreign key, the referenced one.
    pub(in crate::catalog) index: u32,
    /// The constraint of the partitioned table that it comes from, 0 for none.
    pub(in crate::catalog) parent: u32,
    /// Numbers of its columns.
    pub(in crate::catalog) columns: Vec<i16>,
    /// What follows `CONSTRAINT name`; empty for NOT NULL and for parts of another.
    pub(in crate::catalog) definition: String,
}

impl ConstraintFacts {
    /// Its address.
    pub(in crate::catalog) fn address(&self) -> Address {
        Address::new("pg_constraint", self.oid)
    }

    /// When it is checked, as the end of its definition says it.
    fn timing(&self) -> &'static str {
        match (self.deferrable, self.deferred) {
            (true, true) => " DEFERRABLE INITIALLY DEFERRED",
            (true, false) => " DEFERRABLE",
            (false, _) => "",
        }
    }

    /// What COMMENT calls it.
    pub(in crate::catalog) fn target(&self, relation: &RelationFacts) -> String {
        format!("CONSTRAINT {} ON {}", identifier(&self.name), relation.qualified())
    }
}

/// All constraints by their relation, in order of name.
pub(in crate::catalog) struct Constraints(HashMap<u32, Vec<ConstraintFacts>>);

impl Constraints {
    /// The constraints of a relation.
    pub(in crate::catalog) fn of(&self, relation: u32) -> &[ConstraintFacts] {
        self.0.get(&relation).map_or(&[], Vec::as_slice)
    }
}

/// Reads all constraints.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Constraints> {
    let sql = format!(
        "SELECT co.oid, co.conname, co.contype, co.conrelid, co.condeferrable, co.condeferred, \
                co.convalidated, co.conislocal, co.connoinherit, co.conindid, co.conparentid, \
                co.conkey, \
                CASE WHEN co.contype = 'n' OR co.conparentid <> 0 AND co.contype = 'f' THEN '' \
                     ELSE pg_catalog.pg_get_constraintdef(co.oid) END AS definition \
         FROM pg_catalog.pg_constraint co \
         JOIN pg_catalog.pg_class c ON c.oid = co.conrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE co.contype IN ('c', 'n', 'p', 'u', 'x', 'f') AND c.relkind IN ('r', 'p', 'f') \
         AND c.relpersistence <> 't' AND {USER_SCHEMA} \
         ORDER BY co.oid"
    );
    let mut constraints: HashMap<u32, Vec<ConstraintFacts>> = HashMap::new();
    for row in context.ask(Owner::object("pg_constraint", "oid"), &sql).await? {
        let facts = facts(&row)?;
        constraints.entry(facts.relation).or_default().push(facts);
    }
    for constraints in constraints.values_mut() {
        constraints.sort_by(|a, b| (&a.name, a.oid).cmp(&(&b.name, b.oid)));
    }
    Ok(Constraints(constraints))
}

fn facts(row: &Row) -> Result<ConstraintFacts> {
    let contype = match row.text("contype")? {
        "n" => Contype::NotNull,
        "p" => Contype::PrimaryKey,
        "u" => Contype::Unique,
        "x" => Contype::Exclusion,
        "f" => Contype::ForeignKey,
        _ => Contype::Check,
    };
    let columns =
        crate::catalog::array::optional_elements(row.optional("conkey")?)?.unwrap_or_default();
    Ok(ConstraintFacts {
        oid: row.parse("oid")?,
        name: row.text("conname")?.to_owned(),
        contype,
        relation: row.parse("conrelid")?,
        deferrable: row.bool("condeferrable")?,
        deferred: row.bool("condeferred")?,
        validated: row.bool("convalidated")?,
        is_local: row.bool("conislocal")?,
        no_inherit: row.bool("connoinherit")?,
        index: row.parse("conindid")?,
        parent: row.parse("conparentid")?,
        // Only zeros could fail to parse, and they mean no column.
        columns: columns.iter().filter_map(|number| number.parse().ok()).collect(),
        definition: row.text("definition")?.to_owned(),
    })
}

/// Drafts of the constraints that an index enforces, and of foreign keys.
pub(in crate::catalog) fn drafts(
    context: &Context<'_>,
    relations: &Relations,
    constraints: &Constraints,
    indexes: &Indexes,
) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for relation in relations.of(&[Relkind::Table, Relkind::Partitioned]) {
        for constraint in constraints.of(relation.oid) {
            match constraint.contype {
                Contype::PrimaryKey | Contype::Unique | Contype::Exclusion => {
                    drafts.push(by_index(context, relation, constraint, indexes));
                }
                Contype::ForeignKey if constraint.parent == 0 => {
                    drafts.push(foreign_key(relation, constraint, indexes));
                }
                Contype::ForeignKey | Contype::Check | Contype::NotNull => {}
            }
        }
    }
    drafts
}

fn by_index(
    context: &Context<'_>,
    relation: &RelationFacts,
    constraint: &ConstraintFacts,
    indexes: &Indexes,
) -> Draft {
    let mut definition = constraint.definition.clone();
    let mut draft = relation.part(Kind::Constraint, Section::PostData, &constraint.name);
    let index = indexes.get(constraint.index);
    // The definition of an exclusion constraint has its options; the others lack them.
    if let Some(options) = index.and_then(|index| index.options.as_ref())
        && constraint.contype != Contype::Exclusion
    {
        let timing = constraint.timing();
        if let Some(stem) = definition.strip_suffix(timing) {
            definition = format!("{stem} WITH ({options}){timing}");
        }
    }
    let create = format!(
        "ALTER TABLE ONLY {}\n    ADD CONSTRAINT {} {definition};\n",
        relation.qualified(),
        identifier(&constraint.name)
    );
    draft.address = Some(constraint.address());
    draft.target = Some(constraint.target(relation));
    draft.stands_for = vec![Address::new("pg_class", constraint.index)];
    // What is a part of a partitioned table's index goes with that one only.
    if index.is_none_or(|index| index.parent == 0) {
        draft.drop = Some(format!(
            "ALTER TABLE ONLY {} DROP CONSTRAINT {};",
            relation.qualified(),
            identifier(&constraint.name)
        ));
    }
    draft.body = match index {
        Some(index) => {
            let statements = index::statements(context, relation, index);
            draft.inner_targets.push((index.address(), index.target()));
            draft.storage = index.storage();
            draft.by_index = of_an_index(relation, constraint, index, &statements).map(Box::new);
            format!("{create}{statements}")
        }
        None => create,
    }
    .into();
    draft
}

/// The constraint in two steps, where the server can: not of a partitioned table, and not of ranges
/// that may not overlap, whose index is no B-tree.
/// <https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-ADD-TABLE-CONSTRAINT-USING-INDEX>
fn of_an_index(
    relation: &RelationFacts,
    constraint: &ConstraintFacts,
    index: &IndexFacts,
    statements: &str,
) -> Option<ByIndex> {
    let word = match constraint.contype {
        Contype::PrimaryKey => "PRIMARY KEY",
        Contype::Unique => "UNIQUE",
        _ => return None,
    };
    let without_overlaps = constraint.definition.contains(" WITHOUT OVERLAPS)");
    if relation.relkind != Relkind::Table || without_overlaps {
        return None;
    }
    let name = identifier(&constraint.name);
    Some(ByIndex {
        index: format!("{};\n", index.definition),
        constraint: format!(
            "ALTER TABLE ONLY {}\n    ADD CONSTRAINT {name} {word} USING INDEX {}{};\n{statements}",
            relation.qualified(),
            identifier(&index.name),
            constraint.timing()
        ),
    })
}

fn foreign_key(relation: &RelationFacts, constraint: &ConstraintFacts, indexes: &Indexes) -> Draft {
    let mut draft = relation.part(Kind::ForeignKey, Section::PostData, &constraint.name);
    // Partitions take part in the foreign key of their partitioned table.
    let only = if relation.relkind == Relkind::Partitioned { "" } else { "ONLY " };
    let (table, name) = (relation.qualified(), identifier(&constraint.name));
    draft.address = Some(constraint.address());
    draft.target = Some(constraint.target(relation));
    draft.body = format!(
        "ALTER TABLE {only}{table}\n    ADD CONSTRAINT {name} {};\n",
        constraint.definition
    )
    .into();
    draft.drop = Some(format!("ALTER TABLE {only}{table} DROP CONSTRAINT {name};"));
    // The referenced index of a partitioned table is good only with all its parts.
    draft.depends_on = indexes.attachments_below(constraint.index);
    draft
}
