//! Publications, and the tables and schemas in them, each an entry of its own.

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft};
use crate::postgres::{Row, identifier, qualified};
use pgkeep_format::entry::{Kind, Section};

/// Every publication and what is in it.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let generated = if context.major() >= 18 { "p.pubgencols" } else { "'n' AS pubgencols" };
    let rows = context
        .ask(
            Owner::object("pg_publication", "oid"),
            &format!(
                "SELECT p.oid, p.pubname, r.rolname AS owner, p.puballtables, p.pubinsert, \
                    p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot, {generated} \
             FROM pg_catalog.pg_publication p \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = p.pubowner \
             ORDER BY p.pubname"
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_publication", row.parse("oid")?);
        if context.extension_of(address).is_none() {
            drafts.push(publication(address, row)?);
        }
    }
    drafts.extend(tables(context).await?);
    drafts.extend(schemas(context).await?);
    Ok(drafts)
}

fn publication(address: Address, row: &Row) -> Result<Draft> {
    let name = row.text("pubname")?;
    let target = format!("PUBLICATION {}", identifier(name));
    let mut draft = Draft::new(Kind::Publication, Section::PostData, None, name);
    draft.address = Some(address);
    draft.owner = row.optional("owner")?.map(str::to_owned);
    let mut actions = Vec::new();
    for action in ["insert", "update", "delete", "truncate"] {
        if row.bool(&format!("pub{action}"))? {
            actions.push(action);
        }
    }
    let all = if row.bool("puballtables")? { " FOR ALL TABLES" } else { "" };
    let mut options = format!("publish = '{}'", actions.join(", "));
    if row.bool("pubviaroot")? {
        options.push_str(", publish_via_partition_root = true");
    }
    if row.text("pubgencols")? == "s" {
        options.push_str(", publish_generated_columns = stored");
    }
    draft.body = format!("CREATE {target}{all} WITH ({options});").into();
    draft.drop = Some(format!("DROP {target};"));
    draft.target = Some(target);
    Ok(draft)
}

async fn tables(context: &Context<'_>) -> Result<Vec<Draft>> {
    // Lists of columns and row filters came with 15.
    let details = if context.major() >= 15 {
        "pg_catalog.pg_get_expr(m.prqual, m.prrelid) AS filter, \
         (SELECT pg_catalog.string_agg( \
                   '\"' || pg_catalog.replace(a.attname, '\"', '\"\"') || '\"', ', ' \
                   ORDER BY l.position) \
          FROM pg_catalog.unnest(m.prattrs::pg_catalog.int2[]) \
                 WITH ORDINALITY AS l (number, position) \
          JOIN pg_catalog.pg_attribute a \
            ON a.attrelid = m.prrelid AND a.attnum = l.number) AS columns"
    } else {
        "NULL AS filter, NULL AS columns"
    };
    let rows = context
        .ask(
            Owner::object("pg_publication_rel", "oid"),
            &format!(
                "SELECT m.oid, m.prpubid AS publication, p.pubname, m.prrelid, \
                    n.nspname, c.relname, {details} \
             FROM pg_catalog.pg_publication_rel m \
             JOIN pg_catalog.pg_publication p ON p.oid = m.prpubid \
             JOIN pg_catalog.pg_class c ON c.oid = m.prrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             ORDER BY p.pubname, n.nspname, c.relname"
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let (schema, table) = (row.text("nspname")?, row.text("relname")?);
        let mut draft = member(row, "pg_publication_rel", Kind::PublicationTable, table)?;
        draft.schema = Some(schema.to_owned());
        draft.depends_on.push(Address::new("pg_class", row.parse("prrelid")?));
        let columns = row.optional("columns")?.map(|list| format!(" ({list})"));
        let filter = row.optional("filter")?.map(|filter| format!(" WHERE ({filter})"));
        draft.body = format!(
            "ALTER PUBLICATION {} ADD TABLE ONLY {}{}{};",
            identifier(row.text("pubname")?),
            qualified(schema, table),
            columns.unwrap_or_default(),
            filter.unwrap_or_default()
        )
        .into();
        drafts.push(draft);
    }
    Ok(drafts)
}

async fn schemas(context: &Context<'_>) -> Result<Vec<Draft>> {
    if context.major() < 15 {
        return Ok(Vec::new());
    }
    let rows = context
        .ask(
            Owner::object("pg_publication_namespace", "oid"),
            "SELECT m.oid, m.pnpubid AS publication, p.pubname, m.pnnspid, n.nspname \
             FROM pg_catalog.pg_publication_namespace m \
             JOIN pg_catalog.pg_publication p ON p.oid = m.pnpubid \
             JOIN pg_catalog.pg_namespace n ON n.oid = m.pnnspid \
             ORDER BY p.pubname, n.nspname",
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let schema = row.text("nspname")?;
        let mut draft = member(row, "pg_publication_namespace", Kind::PublicationSchema, schema)?;
        draft.depends_on.push(Address::new("pg_namespace", row.parse("pnnspid")?));
        draft.body = format!(
            "ALTER PUBLICATION {} ADD TABLES IN SCHEMA {};",
            identifier(row.text("pubname")?),
            identifier(schema)
        )
        .into();
        drafts.push(draft);
    }
    Ok(drafts)
}

fn member(row: &Row, catalog: &'static str, kind: Kind, name: &str) -> Result<Draft> {
    let name = format!("{} {name}", row.text("pubname")?);
    let mut draft = Draft::new(kind, Section::PostData, None, &name);
    draft.address = Some(Address::new(catalog, row.parse("oid")?));
    draft.belongs_to = Some(Address::new("pg_publication", row.parse("publication")?));
    Ok(draft)
}
