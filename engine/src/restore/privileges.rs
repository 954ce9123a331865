//! Privileges that nobody backed up: where the target has default privileges, the server
//! grants them on whatever is created. They are taken off again before the backup's own
//! are granted, so that a restored table can be read by those who could read it, and by
//! nobody else. What extensions create is theirs and stays as it is.

use crate::Result;
use crate::postgres::{Session, WireSession};
use std::collections::HashSet;

/// The objects that were there before anything was created: catalog and oid.
pub(super) struct Before(HashSet<(String, u32)>);

/// Objects with privileges, what they have and what the server gives by itself.
const OBJECTS: &str = "\
    SELECT 'pg_class' AS class, c.oid, \
      CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, \
      pg_catalog.format('%I.%I', nspname, relname) AS name, relacl AS acl, \
      pg_catalog.acldefault((CASE relkind WHEN 'S' THEN 's' ELSE 'r' END)::\"char\", relowner) AS plain \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace \
    WHERE relkind IN ('r', 'v', 'm', 'S', 'f', 'p') \
    UNION ALL SELECT 'pg_proc', p.oid, 'ROUTINE', p.oid::pg_catalog.regprocedure::text, proacl, \
      pg_catalog.acldefault('f', proowner) FROM pg_catalog.pg_proc p \
    UNION ALL SELECT 'pg_type', t.oid, 'TYPE', pg_catalog.format('%I.%I', nspname, typname), typacl, \
      pg_catalog.acldefault('T', typowner) \
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = typnamespace \
    UNION ALL SELECT 'pg_namespace', oid, 'SCHEMA', pg_catalog.format('%I', nspname), nspacl, \
      pg_catalog.acldefault('n', nspowner) FROM pg_catalog.pg_namespace";

/// Looks which objects are there; absent where there are no default privileges.
pub(super) async fn look(session: &Session) -> Result<Option<Before>> {
    let defaults = session.query("SELECT 1 AS one FROM pg_catalog.pg_default_acl LIMIT 1").await?;
    if defaults.is_empty() {
        return Ok(None);
    }
    let mut before = HashSet::new();
    for row in session.query(&format!("SELECT class, oid FROM ({OBJECTS}) AS o")).await? {
        before.insert((row.text("class")?.to_owned(), row.parse("oid")?));
    }
    Ok(Some(Before(before)))
}

/// Gives every object that was made since the privileges that it would have without default
/// privileges.
pub(super) async fn reset(wire: &mut WireSession, before: &Before) -> Result<()> {
    let difference = |of: &str, from: &str| {
        format!(
            "FROM objects o, pg_catalog.aclexplode({of}) AS a \
             WHERE NOT EXISTS (SELECT FROM pg_catalog.aclexplode({from}) AS b \
               WHERE b.grantee = a.grantee AND b.privilege_type = a.privilege_type)"
        )
    };
    let grantee = "CASE grantee WHEN 0 THEN 'PUBLIC' \
                   ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(grantee)) END";
    let sql = format!(
        "WITH objects AS ( \
           SELECT * FROM ({OBJECTS}) AS o WHERE acl IS NOT NULL AND NOT EXISTS ( \
             SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' AND d.objid = o.oid \
               AND d.classid = pg_catalog.format('pg_catalog.%I', class)::pg_catalog.regclass)) \
         SELECT class, oid, pg_catalog.format('REVOKE %s ON %s %s FROM %s', privilege_type, kind, \
           name, {grantee}) AS statement {revoked} \
         UNION ALL SELECT class, oid, pg_catalog.format('GRANT %s ON %s %s TO %s', \
           privilege_type, kind, name, {grantee}) {granted}",
        revoked = difference("acl", "plain"),
        granted = difference("plain", "acl"),
    );
    for row in wire.query(&sql).await? {
        if !before.0.contains(&(row.text("class")?.to_owned(), row.parse("oid")?)) {
            wire.execute(row.text("statement")?).await?;
        }
    }
    Ok(())
}
