//! Comments and security labels: both speak of an object by the same name, are kept in
//! catalogs of one shape, and lie with the object that they speak of.

use super::{FIRST_USER_OID, column_name, is_public, satellite};
use crate::Result;
use crate::catalog::context::{Context, catalog};
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft};
use crate::postgres::{Row, identifier, literal, qualified};
use pgkeep_format::entry::Kind;
use std::collections::HashMap;
use tokio::try_join;

/// Comments and security labels of `drafts`.
pub(in crate::catalog) async fn read(
    context: &Context<'_>,
    drafts: &[Draft],
) -> Result<Vec<Draft>> {
    let index = Index::new(drafts);
    let (mut said, labels) = try_join!(comments(context, drafts, &index), labels(context, &index))?;
    said.extend(labels);
    Ok(said)
}

/// What `initdb` says of the schema `public`.
const PUBLIC_COMMENT: &str = "standard public schema";

/// A query of what `pg_description` or `pg_seclabel`, and for the database their shared
/// counterpart, hold; `text` is the columns of the text.
fn query(catalog: &str, shared: &str, text: &str) -> String {
    // `public` is the one object of initdb whose comment is the user's matter.
    format!(
        "SELECT c.relname AS catalog, d.objoid, d.objsubid, a.attname, n.nspname, r.relname, \
                tn.nspname AS type_schema, t.typname, t.typrelid, {text} \
         FROM pg_catalog.{catalog} d \
         JOIN pg_catalog.pg_class c ON c.oid = d.classoid \
         LEFT JOIN pg_catalog.pg_class r ON d.objsubid <> 0 AND r.oid = d.objoid \
         LEFT JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace \
         LEFT JOIN pg_catalog.pg_attribute a \
           ON d.objsubid <> 0 AND a.attrelid = d.objoid AND a.attnum = d.objsubid \
         LEFT JOIN pg_catalog.pg_type t ON c.relname = 'pg_type' AND t.oid = d.objoid \
         LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace \
         WHERE d.objoid >= {FIRST_USER_OID} OR c.relname = 'pg_namespace' \
         UNION ALL \
         SELECT 'pg_database', d.objoid, 0, NULL, NULL, NULL, NULL, NULL, NULL, {text} \
         FROM pg_catalog.{shared} d \
         WHERE d.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass \
         ORDER BY 1, 2, 3"
    )
}

async fn comments(
    context: &Context<'_>,
    drafts: &[Draft],
    index: &Index<'_>,
) -> Result<Vec<Draft>> {
    let mut comments = Vec::new();
    let mut public = drafts.iter().find(|draft| is_public(draft));
    let sql = query("pg_description", "pg_shdescription", "d.description");
    for row in &context.ask(Owner::address("catalog", "objoid"), &sql).await? {
        let Some((mut comment, target)) = index.find(row, Kind::Comment)? else { continue };
        let text = row.text("description")?;
        if public.is_some_and(|public| comment.belongs_to == public.address) {
            public = None;
            if text == PUBLIC_COMMENT {
                continue;
            }
        }
        comment.body = format!("COMMENT ON {target} IS {};", literal(text)).into();
        comments.push(comment);
    }
    // A comment that initdb made and the user took away.
    if let Some(draft) = public {
        let mut comment = satellite(Kind::Comment, draft, draft.address);
        comment.body = "COMMENT ON SCHEMA \"public\" IS '';".to_owned().into();
        comments.push(comment);
    }
    Ok(comments)
}

async fn labels(context: &Context<'_>, index: &Index<'_>) -> Result<Vec<Draft>> {
    let mut labels = Vec::new();
    let sql = query("pg_seclabel", "pg_shseclabel", "d.provider, d.label");
    for row in &context.ask(Owner::address("catalog", "objoid"), &sql).await? {
        let Some((mut label, target)) = index.find(row, Kind::SecurityLabel)? else { continue };
        label.body = format!(
            "SECURITY LABEL FOR {} ON {target} IS {};",
            identifier(row.text("provider")?),
            literal(row.text("label")?)
        )
        .into();
        labels.push(label);
    }
    Ok(labels)
}

/// Finds the draft that a row of [`query`] speaks of.
struct Index<'a> {
    drafts: HashMap<Address, &'a Draft>,
    targets: HashMap<Address, (&'a Draft, &'a str)>,
}

impl<'a> Index<'a> {
    fn new(drafts: &'a [Draft]) -> Self {
        let mut index = Self { drafts: HashMap::new(), targets: HashMap::new() };
        for draft in drafts {
            for address in draft.address.iter().chain(&draft.stands_for) {
                index.drafts.insert(*address, draft);
            }
            for (address, target) in draft.targets() {
                index.targets.insert(address, (draft, target));
            }
        }
        index
    }

    /// A satellite of `kind` that says nothing yet, and what COMMENT ON calls the object;
    /// absent where no draft makes the object.
    fn find(&self, row: &Row, kind: Kind) -> Result<Option<(Draft, String)>> {
        let Some(catalog) = catalog(row.text("catalog")?) else { return Ok(None) };
        let address = Address::new(catalog, row.parse("objoid")?);
        if let Some(column) = row.optional("attname")? {
            let Some(draft) = self.drafts.get(&address) else { return Ok(None) };
            let relation = qualified(row.text("nspname")?, row.text("relname")?);
            let mut comment = satellite(kind, draft, draft.address);
            comment.name = column_name(draft, column);
            return Ok(Some((comment, format!("COLUMN {relation}.{}", identifier(column)))));
        }
        if let Some((draft, target)) = self.targets.get(&address)
            && draft.kind != Kind::LargeObject
        {
            let mut comment = satellite(kind, draft, Some(address));
            if draft.address != Some(address) {
                comment.name = (*target).to_owned();
            }
            return Ok(Some((comment, (*target).to_owned())));
        }
        match self.drafts.get(&address) {
            Some(draft) if draft.kind == Kind::LargeObject => {
                let mut comment = satellite(kind, draft, draft.address);
                comment.name = format!("LARGE OBJECT {}", address.oid);
                Ok(Some((comment, format!("LARGE OBJECT {}", address.oid))))
            }
            Some(draft) => made_with(row, kind, draft),
            // A row type has no address of its own among the drafts.
            None => match row.optional("typrelid")? {
                None => Ok(None),
                Some(_) => {
                    let relation = Address::new("pg_class", row.parse("typrelid")?);
                    self.drafts.get(&relation).map_or(Ok(None), |draft| made_with(row, kind, draft))
                }
            },
        }
    }
}

/// What is said of a type that was made with `draft`: a table's row type, a range's multirange.
fn made_with(row: &Row, kind: Kind, draft: &Draft) -> Result<Option<(Draft, String)>> {
    let Some(name) = row.optional("typname")? else { return Ok(None) };
    let target =
        format!("TYPE {}", qualified(row.optional("type_schema")?.unwrap_or_default(), name));
    let mut satellite = satellite(kind, draft, draft.address);
    satellite.name.clone_from(&target);
    Ok(Some((satellite, target)))
}
