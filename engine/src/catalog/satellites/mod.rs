//! What is said about objects: owners, privileges, comments. Each becomes an entry of its
//! own that belongs to the object, so that a restore can leave it out.
//!
//! Members of extensions have neither owner nor comment here, for `CREATE EXTENSION` gives
//! them; for privileges changed since then see `given_privileges`.

use crate::Result;
pub(in crate::catalog) mod acl;
mod given_privileges;

use crate::catalog::context::{Context, catalog};
use crate::catalog::{Address, Draft};
use crate::postgres::{Row, identifier, literal, qualified};
use pgkeep_format::entry::Kind;
use std::collections::{HashMap, HashSet};

/// The first OID that `initdb` does not use.
pub(in crate::catalog) const FIRST_USER_OID: u32 = 16_384;

/// Owners, privileges and comments of `drafts`.
pub(in crate::catalog) async fn read(
    context: &Context<'_>,
    drafts: &[Draft],
) -> Result<Vec<Draft>> {
    let roles = roles(context).await?;
    let mut satellites = Vec::new();
    for draft in drafts {
        satellites.extend(owner(draft));
        for privileges in &draft.privileges {
            let exists = |role: &str| roles.contains(role);
            let sql = acl::statements(privileges, draft.owner.as_deref(), "", exists)?;
            if !sql.is_empty() {
                let mut satellite = satellite(Kind::Acl, draft, draft.address);
                if let Some(column) = &privileges.column {
                    satellite.name = column_name(draft, column);
                }
                satellite.body = sql.into();
                satellites.push(satellite);
            }
        }
    }
    satellites.extend(given_privileges::read(context, drafts, &roles).await?);
    satellites.extend(comments(context, drafts).await?);
    Ok(satellites)
}

/// The names of all roles.
pub(in crate::catalog) async fn roles(context: &Context<'_>) -> Result<HashSet<String>> {
    let rows = context.session.query("SELECT rolname FROM pg_catalog.pg_roles").await?;
    rows.iter().map(|row| Ok(row.text("rolname")?.to_owned())).collect()
}

/// A satellite of `draft` that says nothing yet, named after the object's kind and name.
fn satellite(kind: Kind, draft: &Draft, belongs_to: Option<Address>) -> Draft {
    let name = format!("{} {}", draft.kind.as_str(), draft.name);
    let mut satellite = Draft::new(kind, draft.section, draft.schema.as_deref(), &name);
    satellite.belongs_to = belongs_to;
    satellite
}

fn column_name(draft: &Draft, column: &str) -> String {
    format!("COLUMN {}.{column}", draft.name)
}

fn owner(draft: &Draft) -> Option<Draft> {
    let (owner, target) = (draft.owner.as_deref()?, draft.target.as_deref()?);
    if is_public(draft) && owner == "pg_database_owner" {
        return None;
    }
    let owner = identifier(owner);
    let sql = if draft.kind == Kind::LargeObject {
        // A draft of large objects stands for many, and ALTER takes one at a time.
        let all = draft.address.iter().chain(&draft.stands_for);
        let lines: Vec<String> =
            all.map(|one| format!("ALTER LARGE OBJECT {} OWNER TO {owner};", one.oid)).collect();
        lines.join("\n")
    } else {
        format!("ALTER {target} OWNER TO {owner};")
    };
    let mut satellite = satellite(Kind::Owner, draft, draft.address);
    satellite.body = sql.into();
    Some(satellite)
}

/// Comments from `pg_description`, and the database's from `pg_shdescription`.
async fn comments(context: &Context<'_>, drafts: &[Draft]) -> Result<Vec<Draft>> {
    let index = Index::new(drafts);
    // `public` is the one object of initdb whose comment is the user's matter.
    let rows = context
        .session
        .query(&format!(
            "SELECT c.relname AS catalog, d.objoid, d.objsubid, d.description, a.attname, \
                    n.nspname, r.relname \
             FROM pg_catalog.pg_description d \
             JOIN pg_catalog.pg_class c ON c.oid = d.classoid \
             LEFT JOIN pg_catalog.pg_class r ON d.objsubid <> 0 AND r.oid = d.objoid \
             LEFT JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace \
             LEFT JOIN pg_catalog.pg_attribute a \
               ON d.objsubid <> 0 AND a.attrelid = d.objoid AND a.attnum = d.objsubid \
             WHERE d.objoid >= {FIRST_USER_OID} OR c.relname = 'pg_namespace' \
             UNION ALL \
             SELECT 'pg_database', d.objoid, 0, d.description, NULL, NULL, NULL \
             FROM pg_catalog.pg_shdescription d \
             WHERE d.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass \
             ORDER BY 1, 2, 3"
        ))
        .await?;
    let mut comments = Vec::new();
    let mut public = drafts.iter().find(|draft| is_public(draft));
    for row in &rows {
        let Some((mut comment, target)) = index.comment(row)? else { continue };
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

/// What `initdb` says of the schema `public`.
const PUBLIC_COMMENT: &str = "standard public schema";

fn is_public(draft: &Draft) -> bool {
    draft.kind == Kind::Schema && draft.name == "public"
}

/// Finds the draft that a row of `pg_description` speaks of.
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

    /// An empty comment, and what COMMENT ON calls the object; absent where no draft makes
    /// the object.
    fn comment(&self, row: &Row) -> Result<Option<(Draft, String)>> {
        let Some(catalog) = catalog(row.text("catalog")?) else { return Ok(None) };
        let address = Address::new(catalog, row.parse("objoid")?);
        if let Some(column) = row.optional("attname")? {
            let Some(draft) = self.drafts.get(&address) else { return Ok(None) };
            let relation = qualified(row.text("nspname")?, row.text("relname")?);
            let mut comment = satellite(Kind::Comment, draft, draft.address);
            comment.name = column_name(draft, column);
            return Ok(Some((comment, format!("COLUMN {relation}.{}", identifier(column)))));
        }
        if let Some((draft, target)) = self.targets.get(&address)
            && draft.kind != Kind::LargeObject
        {
            let mut comment = satellite(Kind::Comment, draft, Some(address));
            if draft.address != Some(address) {
                comment.name = (*target).to_owned();
            }
            return Ok(Some((comment, (*target).to_owned())));
        }
        match self.drafts.get(&address) {
            Some(draft) if draft.kind == Kind::LargeObject => {
                let mut comment = satellite(Kind::Comment, draft, draft.address);
                comment.name = format!("LARGE OBJECT {}", address.oid);
                Ok(Some((comment, format!("LARGE OBJECT {}", address.oid))))
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgkeep_format::entry::Section;

    #[test]
    fn large_objects_get_their_owner_one_by_one() {
        let mut draft = Draft::new(Kind::LargeObject, Section::PreData, None, "1..2");
        draft.address = Some(Address::new("pg_largeobject", 1));
        draft.stands_for = vec![Address::new("pg_largeobject", 2)];
        draft.target = Some("LARGE OBJECT 1, 2".to_owned());
        draft.owner = Some("o".to_owned());
        let expected = "ALTER LARGE OBJECT 1 OWNER TO \"o\";\nALTER LARGE OBJECT 2 OWNER TO \"o\";";
        assert_eq!(owner(&draft).unwrap().body, expected.to_owned().into());
    }

    #[test]
    fn what_has_no_owner_gets_no_statement() {
        let draft = Draft::new(Kind::Trigger, Section::PostData, Some("s"), "t");
        assert!(owner(&draft).is_none());
    }
}
