//! Triggers, and the states that triggers of partitions have of their own.

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::relations::relation::{RelationFacts, Relations};
use crate::catalog::relations::view::enabled;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft};
use crate::postgres::{Row, identifier};
use pgkeep_format::entry::{Kind, Section};
use std::collections::{HashMap, HashSet};

/// Reads drafts of triggers.
pub(in crate::catalog) async fn read(
    context: &Context<'_>,
    relations: &Relations,
) -> Result<Vec<Draft>> {
    // A partition's trigger is made by that of its partitioned table; it is told of only
    // where it is in another state. Those of foreign keys are the server's own.
    let sql = format!(
        "SELECT t.oid, t.tgrelid, t.tgname, t.tgenabled, t.tgparentid, \
                CASE WHEN t.tgparentid = 0 \
                     THEN pg_catalog.pg_get_triggerdef(t.oid, false) END AS definition, \
                t.tgparentid = 0 OR t.tgenabled <> p.tgenabled AS is_told \
         FROM pg_catalog.pg_trigger t \
         JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_catalog.pg_trigger p ON p.oid = t.tgparentid \
         WHERE (t.tgparentid <> 0 OR NOT t.tgisinternal) \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint f \
                         WHERE f.oid = t.tgconstraint AND f.contype = 'f') \
         AND {USER_SCHEMA}"
    );
    let rows = context.ask(Owner::object("pg_trigger", "oid"), &sql).await?;
    let mut parents = HashMap::new();
    let mut told = HashSet::new();
    for row in &rows {
        let oid: u32 = row.parse("oid")?;
        parents.insert(oid, row.parse::<u32>("tgparentid")?);
        if row.bool("is_told")? {
            told.insert(oid);
        }
    }
    let mut drafts = Vec::new();
    for row in rows.iter() {
        let oid = row.parse("oid")?;
        let Some(relation) = relations.get(row.parse("tgrelid")?) else { continue };
        if told.contains(&oid) {
            drafts.push(draft(context, relation, row, nearest(oid, &parents, &told))?);
        }
    }
    Ok(drafts)
}

/// The nearest trigger that a trigger comes from and that has a draft.
fn nearest(oid: u32, parents: &HashMap<u32, u32>, told: &HashSet<u32>) -> Option<Address> {
    // As many steps as there are triggers: no more levels of partitions can there be.
    let mut oid = oid;
    for _ in 0..parents.len() {
        oid = *parents.get(&oid)?;
        if told.contains(&oid) {
            return Some(Address::new("pg_trigger", oid));
        }
    }
    None
}

fn draft(
    context: &Context<'_>,
    relation: &RelationFacts,
    row: &Row,
    parent: Option<Address>,
) -> Result<Draft> {
    let name = row.text("tgname")?;
    let (table, quoted) = (relation.qualified(), identifier(name));
    let target = format!("TRIGGER {quoted} ON {table}");
    let mut draft = relation.part(Kind::Trigger, Section::PostData, name);
    let address = Address::new("pg_trigger", row.parse("oid")?);
    draft.address = Some(address);
    draft.depends_on.extend(parent);
    let state = enabled(row.text("tgenabled")?);
    draft.body = match row.optional("definition")? {
        Some(definition) => {
            draft.drop = Some(format!("DROP {target};"));
            let mut create = format!("{definition};\n");
            if let Some(state) = state {
                create += &format!("ALTER TABLE {table} {state} TRIGGER {quoted};\n");
            }
            create += &context.depends_on_extension(address, &target);
            draft.target = Some(target);
            create
        }
        None => {
            format!("ALTER TABLE {table} {} TRIGGER {quoted};\n", state.unwrap_or("ENABLE"))
        }
    }
    .into();
    Ok(draft)
}
