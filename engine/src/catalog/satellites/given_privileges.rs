//! Privileges of objects that no entry makes: the server's own, and members of extensions.
//! They came with `initdb` or `CREATE EXTENSION`, and `pg_init_privs` keeps what was given
//! then; only what was changed since is told.

use crate::Result;
use crate::catalog::array;
use crate::catalog::context::Context;
use crate::catalog::satellites::acl;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft, Privileges};
use crate::postgres::{identifier, qualified};
use pgkeep_format::entry::{Kind, Section};
use std::collections::{HashMap, HashSet};

/// The differences; those of an extension's members where `drafts` have the extension,
/// those of the server's own objects where they have the whole database.
pub(in crate::catalog) async fn read(
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
    let whole = drafts.iter().any(|draft| draft.kind == Kind::Database);
    let mut satellites = Vec::new();
    for row in context.ask(Owner::address("catalog", "oid"), CHANGED).await? {
        let extension = match row.optional("extension")? {
            Some(_) => match extensions.get(&row.parse("extension")?) {
                Some(extension) => extension.address,
                None => continue,
            },
            None if whole => None,
            None => continue,
        };
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
            satellite.belongs_to = extension;
            satellite.body = sql.into();
            satellites.push(satellite);
        }
    }
    Ok(satellites)
}

/// All objects of `initdb` and of extensions whose privileges are not those of
/// `pg_init_privs`, or where that holds nothing, not the default. The schema `public` is
/// the user's, and of `information_schema` the server does not remember what it gave.
const CHANGED: &str = "\
WITH object AS ( \
  SELECT 'pg_class' AS catalog, 'pg_catalog.pg_class'::pg_catalog.regclass AS classid, r.oid, 0 AS column_number, \
         CASE r.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS word, \
         r.relnamespace AS namespace, r.relname AS name, NULL AS attname, '' AS arguments, \
         r.relowner AS owner, r.relacl AS acl, \
         CASE r.relkind WHEN 'S' THEN 's' ELSE 'r' END AS type \
  FROM pg_catalog.pg_class r WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
  UNION ALL \
  SELECT 'pg_class' AS catalog, 'pg_catalog.pg_class'::pg_catalog.regclass, r.oid, a.attnum, 'TABLE', r.relnamespace, \
         r.relname, a.attname, '', r.relowner, coalesce(a.attacl, '{}'), 'c' \
  FROM pg_catalog.pg_class r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid \
  WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT a.attisdropped \
  UNION ALL \
  SELECT 'pg_proc' AS catalog, 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, 0, \
         CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, \
         p.pronamespace, p.proname, NULL, '(' || ( \
           SELECT coalesce(pg_catalog.string_agg( \
                    pg_catalog.format_type(t.type, NULL), ', ' ORDER BY t.position), '') \
           FROM pg_catalog.unnest(p.proargtypes::oid[]) WITH ORDINALITY AS t (type, position) \
         ) || ')', p.proowner, p.proacl, 'f' \
  FROM pg_catalog.pg_proc p \
  UNION ALL \
  SELECT 'pg_type' AS catalog, 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, 0, 'TYPE', t.typnamespace, \
         t.typname, NULL, '', t.typowner, t.typacl, 'T' \
  FROM pg_catalog.pg_type t \
  UNION ALL \
  SELECT 'pg_namespace' AS catalog, 'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid, 0, 'SCHEMA', NULL, n.nspname, \
         NULL, '', n.nspowner, n.nspacl, 'n' \
  FROM pg_catalog.pg_namespace n \
  UNION ALL \
  SELECT 'pg_language' AS catalog, 'pg_catalog.pg_language'::pg_catalog.regclass, l.oid, 0, 'LANGUAGE', NULL, l.lanname, \
         NULL, '', l.lanowner, l.lanacl, 'l' \
  FROM pg_catalog.pg_language l \
  UNION ALL \
  SELECT 'pg_foreign_data_wrapper' AS catalog, 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, w.oid, 0, \
         'FOREIGN DATA WRAPPER', NULL, w.fdwname, NULL, '', w.fdwowner, w.fdwacl, 'F' \
  FROM pg_catalog.pg_foreign_data_wrapper w \
  UNION ALL \
  SELECT 'pg_foreign_server' AS catalog, 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, s.oid, 0, 'FOREIGN SERVER', NULL, \
         s.srvname, NULL, '', s.srvowner, s.srvacl, 'S' \
  FROM pg_catalog.pg_foreign_server s \
), member AS ( \
  SELECT d.refobjid AS extension, o.*, \
         pg_catalog.acldefault(o.type::pg_catalog.\"char\", o.owner) AS standard, i.initprivs \
  FROM object o \
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = o.classid AND d.objid = o.oid \
    AND d.objsubid = 0 AND d.deptype = 'e' \
    AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass \
  LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = o.classid AND i.objoid = o.oid \
    AND i.objsubid = o.column_number \
  WHERE d.refobjid IS NOT NULL \
    OR o.oid < 16384 AND CASE o.word \
      WHEN 'SCHEMA' THEN o.name = 'pg_catalog' \
      ELSE coalesce(o.namespace = 'pg_catalog'::pg_catalog.regnamespace, true) END \
) \
SELECT m.catalog, m.oid, m.extension, m.word, n.nspname, m.name, m.attname, m.arguments, r.rolname AS owner, \
       coalesce(m.acl, m.standard) AS acl, coalesce(m.initprivs, m.standard) AS initial \
FROM member m \
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = m.namespace \
LEFT JOIN pg_catalog.pg_roles r ON r.oid = m.owner \
WHERE coalesce(m.acl, m.standard) IS DISTINCT FROM coalesce(m.initprivs, m.standard) \
ORDER BY m.catalog, m.oid, m.column_number";
