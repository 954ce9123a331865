//! Domains. Their constraints are made with them, or apart: where they are not validated,
//! or where a loop wants it.

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::draft::{Element, Layout, Part};
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::objects::types;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Body, Draft};
use crate::postgres::{Row, identifier, literal, qualified};
use pgkeep_format::entry::{Kind, Section};
use std::collections::HashMap;

/// Every domain.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::object("pg_type", "oid"),
            &format!(
                "SELECT {}, pg_catalog.format_type(t.typbasetype, t.typtypmod) AS base, \
                    cn.nspname AS collation_schema, l.collname, t.typnotnull, \
                    pg_catalog.pg_get_expr(t.typdefaultbin, \
                      'pg_catalog.pg_type'::pg_catalog.regclass) AS expression, t.typdefault \
             FROM {} \
             JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype \
             LEFT JOIN pg_catalog.pg_collation l \
               ON l.oid = t.typcollation AND t.typcollation <> b.typcollation \
             LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = l.collnamespace \
             WHERE t.typtype = 'd' AND {USER_SCHEMA} \
             ORDER BY n.nspname, t.typname",
                types::COLUMNS,
                types::FROM
            ),
        )
        .await?;
    let mut constraints = constraints(context).await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let mut draft = types::named(row, Kind::Domain, "DOMAIN")?;
        let Some(address) = draft.address else { continue };
        if context.extension_of(address).is_none() {
            let elements = constraints.remove(&address.oid).unwrap_or_default();
            domain(&mut draft, row, elements)?;
            drafts.push(draft);
        }
    }
    Ok(drafts)
}

fn domain(draft: &mut Draft, row: &Row, constraints: Vec<Constraint>) -> Result<()> {
    let name = qualified(row.text("nspname")?, row.text("typname")?);
    let mut before =
        format!("CREATE DOMAIN {name} AS {}{}", row.text("base")?, types::collate(row)?);
    if let Some(expression) = row.optional("expression")? {
        before.push_str(&format!(" DEFAULT {expression}"));
    } else if let Some(text) = row.optional("typdefault")? {
        before.push_str(&format!(" DEFAULT {}", literal(text)));
    }
    // From 17 on NOT NULL is a constraint with a name of its own.
    let mut elements = Vec::new();
    let named = constraints.iter().any(|constraint| constraint.not_null);
    if row.bool("typnotnull")? && !named {
        before.push_str(" NOT NULL");
    }
    for constraint in constraints {
        let target = format!("CONSTRAINT {} ON DOMAIN {name}", identifier(&constraint.name));
        let text = format!("CONSTRAINT {} {}", identifier(&constraint.name), constraint.definition);
        if constraint.not_null {
            draft.inner_targets.push((constraint.address, target));
            draft.stands_for.push(constraint.address);
            elements.push(Element { text, part: None });
            continue;
        }
        let part = Part {
            text: text.clone(),
            apart: !constraint.validated,
            alone: check(draft, &name, constraint, target, &text),
        };
        elements.push(Element { text: String::new(), part: Some(Box::new(part)) });
    }
    draft.body = Body::Elements { before, layout: Layout::DOMAIN, elements, after: ";".to_owned() };
    Ok(())
}

/// The draft that adds a constraint to a domain that is there already.
fn check(domain: &Draft, name: &str, it: Constraint, target: String, text: &str) -> Draft {
    // Rows that an unvalidated constraint does not hold for must be loaded before it.
    let section = if it.validated { Section::PreData } else { Section::PostData };
    let entry_name = format!("{} {}", domain.name, it.name);
    let mut draft =
        Draft::new(Kind::CheckConstraint, section, domain.schema.as_deref(), &entry_name);
    draft.address = Some(it.address);
    draft.target = Some(target);
    draft.belongs_to = domain.address;
    draft.body = format!("ALTER DOMAIN {name} ADD {text};").into();
    draft.drop = Some(format!("ALTER DOMAIN {name} DROP CONSTRAINT {};", identifier(&it.name)));
    draft
}

struct Constraint {
    address: Address,
    name: String,
    definition: String,
    not_null: bool,
    validated: bool,
}

async fn constraints(context: &Context<'_>) -> Result<HashMap<u32, Vec<Constraint>>> {
    let sql = "SELECT c.oid, c.contypid, c.conname, c.contype, c.convalidated, \
                      pg_catalog.pg_get_constraintdef(c.oid) AS definition \
               FROM pg_catalog.pg_constraint c \
               WHERE c.contypid <> 0 AND c.contype IN ('c', 'n') \
               ORDER BY c.oid";
    let mut constraints: HashMap<u32, Vec<Constraint>> = HashMap::new();
    for row in context.ask(Owner::object("pg_constraint", "oid"), sql).await? {
        constraints.entry(row.parse("contypid")?).or_default().push(Constraint {
            address: Address::new("pg_constraint", row.parse("oid")?),
            name: row.text("conname")?.to_owned(),
            definition: row.text("definition")?.to_owned(),
            not_null: row.text("contype")? == "n",
            validated: row.bool("convalidated")?,
        });
    }
    for constraints in constraints.values_mut() {
        constraints.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(constraints)
}
