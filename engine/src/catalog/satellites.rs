//! What is said about objects: owners, privileges, comments. Each becomes an entry of its
//! own that belongs to the object, so that a restore can leave it out.
//!
//! Members of extensions have neither owner nor comment here, for `CREATE EXTENSION` gives
//! them; but privileges changed since then become entries of the extension.

use super::context::{Context, catalog};
use super::{Address, Draft, Privileges, acl, array};
use crate::Result;
use crate::postgres::{Row, identifier, literal, qualified};
use pgkeep_format::entry::{Kind, Section};
use std::collections::{HashMap, HashSet};

/// The first OID that `initdb` does not use.
pub(super) const FIRST_USER_OID: u32 = 16_384;

/// Owners, privileges and comments of `drafts`.
pub(super) async fn read(context: &Context<'_>, drafts: &[Draft]) -> Result<Vec<Draft>> {
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
    satellites.extend(member_privileges(context, drafts, &roles).await?);
    satellites.extend(comments(context, drafts).await?);
    Ok(satellites)
}

/// The names of all roles.
pub(super) async fn roles(context: &Context<'_>) -> Result<HashSet<String>> {
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

/// Privileges of members of extensions that differ from what the extension gave.
async fn member_privileges(
    context: &Context<'_>,
    drafts: &[Draft],
    roles: &HashSet<String>,
) -> Result<Vec<Draft>> {
    let extensions: HashMap<u32, &Draft> = drafts
        .iter()
        .filter_map(|draft| match draft.address {
            Some(Address { catalog: "pg_extension", oid, .. }) => Some((oid, draft)),
            _ => None,
        })
        .collect();
    let mut satellites = Vec::new();
    for row in context.session.query(MEMBER_PRIVILEGES).await? {
        let Some(extension) = extensions.get(&row.parse("extension")?) else { continue };
        let name = match (row.optional("nspname")?, row.text("name")?) {
            (Some(schema), name) => qualified(schema, name),
            (None, name) => identifier(name),
        };
        let target = format!("{} {name}{}", row.text("word")?, row.text("arguments")?);
        let column = row.optional("attname")?.map(str::to_owned);
        let name = match &column {
            Some(column) => format!("{target} ({column})"),
            None => target.clone(),
        };
        let privileges = Privileges {
            target,
            column,
            items: array::optional_elements(row.optional("acl")?)?,
            default: array::optional_elements(row.optional("initial")?)?.unwrap_or_default(),
        };
        let owner = row.optional("owner")?;
        let sql = acl::statements(&privileges, owner, "", |role| roles.contains(role))?;
        if !sql.is_empty() {
            let schema = row.optional("nspname")?;
            let mut satellite = Draft::new(Kind::Acl, Section::PreData, schema, &name);
            satellite.belongs_to = extension.address;
            satellite.body = sql.into();
            satellites.push(satellite);
        }
    }
    Ok(satellites)
}

/// All members of extensions whose privileges are not those of `pg_init_privs`, or where
/// that holds nothing, not the default.
const MEMBER_PRIVILEGES: &str = "\
WITH object AS ( \
  SELECT 'pg_catalog.pg_class'::pg_catalog.regclass AS classid, r.oid, 0 AS column_number, \
         CASE r.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS word, \
         r.relnamespace AS namespace, r.relname AS name, NULL AS attname, '' AS arguments, \
         r.relowner AS owner, r.relacl AS acl, \
         CASE r.relkind WHEN 'S' THEN 's' ELSE 'r' END AS type \
  FROM pg_catalog.pg_class r WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
  UNION ALL \
  SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, r.oid, a.attnum, 'TABLE', r.relnamespace, \
         r.relname, a.attname, '', r.relowner, coalesce(a.attacl, '{}'), 'c' \
  FROM pg_catalog.pg_class r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid \
  WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT a.attisdropped \
  UNION ALL \
  SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, 0, \
         CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, \
         p.pronamespace, p.proname, NULL, '(' || ( \
           SELECT coalesce(pg_catalog.string_agg( \
                    pg_catalog.format_type(t.type, NULL), ', ' ORDER BY t.position), '') \
           FROM pg_catalog.unnest(p.proargtypes::oid[]) WITH ORDINALITY AS t (type, position) \
         ) || ')', p.proowner, p.proacl, 'f' \
  FROM pg_catalog.pg_proc p \
  UNION ALL \
  SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, 0, 'TYPE', t.typnamespace, \
         t.typname, NULL, '', t.typowner, t.typacl, 'T' \
  FROM pg_catalog.pg_type t \
  UNION ALL \
  SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid, 0, 'SCHEMA', NULL, n.nspname, \
         NULL, '', n.nspowner, n.nspacl, 'n' \
  FROM pg_catalog.pg_namespace n \
  UNION ALL \
  SELECT 'pg_catalog.pg_language'::pg_catalog.regclass, l.oid, 0, 'LANGUAGE', NULL, l.lanname, \
         NULL, '', l.lanowner, l.lanacl, 'l' \
  FROM pg_catalog.pg_language l \
  UNION ALL \
  SELECT 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, w.oid, 0, \
         'FOREIGN DATA WRAPPER', NULL, w.fdwname, NULL, '', w.fdwowner, w.fdwacl, 'F' \
  FROM pg_catalog.pg_foreign_data_wrapper w \
  UNION ALL \
  SELECT 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, s.oid, 0, 'FOREIGN SERVER', NULL, \
         s.srvname, NULL, '', s.srvowner, s.srvacl, 'S' \
  FROM pg_catalog.pg_foreign_server s \
), member AS ( \
  SELECT d.refobjid AS extension, o.*, \
         pg_catalog.acldefault(o.type::pg_catalog.\"char\", o.owner) AS standard, i.initprivs \
  FROM object o \
  JOIN pg_catalog.pg_depend d ON d.classid = o.classid AND d.objid = o.oid \
    AND d.objsubid = 0 AND d.deptype = 'e' \
    AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass \
  LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = o.classid AND i.objoid = o.oid \
    AND i.objsubid = o.column_number \
) \
SELECT m.extension, m.word, n.nspname, m.name, m.attname, m.arguments, r.rolname AS owner, \
       coalesce(m.acl, m.standard) AS acl, coalesce(m.initprivs, m.standard) AS initial \
FROM member m \
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = m.namespace \
LEFT JOIN pg_catalog.pg_roles r ON r.oid = m.owner \
WHERE coalesce(m.acl, m.standard) IS DISTINCT FROM coalesce(m.initprivs, m.standard)";

#[cfg(test)]
mod tests {
    use super::*;

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
