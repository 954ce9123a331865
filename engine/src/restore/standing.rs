//! What stands on objects that are to be dropped, and would go with them or keep them: views,
//! foreign keys and the like that nobody asked to replace. The server would say so too, but
//! only in the middle of the work.

use super::needs::NAMED_MAX;
use super::rename::Rename;
use super::there::{Found, There};
use crate::catalog::Selection;
use crate::postgres::{Session, qualified};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Something in the target that stands on what is to be dropped.
struct Standing {
    /// The object that it is or is a part of.
    object: Found,
    /// As the server calls it: `view app.open_jobs`.
    name: String,
    on: String,
}

/// Refuses to drop `dropped` while something else stands on it.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] that names what does.
pub(super) async fn check(
    session: &Session,
    dropped: &BTreeSet<Found>,
    entries: &[Entry],
    there: &There,
    rename: &Rename,
    selection: &Selection,
) -> Result<()> {
    let standing = find(session, dropped).await?;
    if standing.is_empty() {
        return Ok(());
    }
    let named = standing.iter().take(NAMED_MAX);
    let named: Vec<String> =
        named.map(|one| format!("{} stands on {}", one.name, one.on)).collect();
    let more = match standing.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let message = format!("could not drop what is to be replaced: {}{more}", named.join(", "));
    let mut error = Error::new(ErrorKind::AlreadyExists, message);
    let objects: BTreeSet<Found> = standing.iter().map(|one| one.object).collect();
    let options = options(entries, there, rename, selection, &objects);
    if !options.is_empty() {
        error = error.hint(format!("Replace that too: add {}", options.join(" ")));
    }
    Err(error.hint("Or drop it first. Nothing was changed."))
}

/// What stands on objects to be dropped and does not go with them: the server's own rules for
/// `DROP … RESTRICT`, for what has rows, is made of rows, or is called.
async fn find(session: &Session, dropped: &BTreeSet<Found>) -> Result<Vec<Standing>> {
    if dropped.is_empty() {
        return Ok(Vec::new());
    }
    let mut catalogs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for one in dropped {
        catalogs.entry(one.catalog).or_default().push(one.oid.to_string());
    }
    let first = catalogs.iter().map(|(catalog, oids)| {
        format!(
            "SELECT 'pg_catalog.{catalog}'::pg_catalog.regclass::oid, \
             pg_catalog.unnest('{{{}}}'::oid[])",
            oids.join(",")
        )
    });
    let first = first.collect::<Vec<_>>().join(" UNION ALL ");
    let sql = format!(
        "WITH RECURSIVE dropped (classid, objid) AS ( \
           ({first}) \
           UNION SELECT d.classid, d.objid FROM dropped x JOIN pg_catalog.pg_depend d \
             ON d.refclassid = x.classid AND d.refobjid = x.objid \
             WHERE d.deptype IN ('a', 'i', 'P', 'S', 'e') AND d.objsubid = 0), \
         standing AS ( \
           SELECT DISTINCT d.classid, d.objid, x.classid AS onclass, x.objid AS onobject \
           FROM dropped x JOIN pg_catalog.pg_depend d \
             ON d.refclassid = x.classid AND d.refobjid = x.objid AND d.deptype = 'n' \
           WHERE NOT EXISTS (SELECT FROM dropped y \
             WHERE y.classid = d.classid AND y.objid = d.objid)), \
         owned AS ( \
           SELECT s.*, CASE WHEN r.oid IS NOT NULL OR k.conrelid <> 0 \
               THEN 'pg_catalog.pg_class'::pg_catalog.regclass::oid ELSE s.classid END AS class, \
             coalesce(r.ev_class, nullif(k.conrelid, 0), s.objid) AS object, \
             coalesce(r.rulename = '_RETURN', false) AS is_view \
           FROM standing s \
           LEFT JOIN pg_catalog.pg_rewrite r \
             ON s.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.oid = s.objid \
           LEFT JOIN pg_catalog.pg_constraint k \
             ON s.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.oid = s.objid) \
         SELECT DISTINCT c.relname AS catalog, object AS oid, \
           CASE WHEN is_view THEN pg_catalog.pg_describe_object(class, object, 0) \
             ELSE pg_catalog.pg_describe_object(classid, objid, 0) END AS name, \
           pg_catalog.pg_describe_object(onclass, onobject, 0) AS on \
         FROM owned JOIN pg_catalog.pg_class c ON c.oid = class \
         WHERE c.relname IN ('pg_class', 'pg_proc', 'pg_type') \
           AND c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace ORDER BY name, \"on\""
    );
    let mut standing = Vec::new();
    for row in session.query(&sql).await? {
        let catalog = match row.text("catalog")? {
            "pg_class" => "pg_class",
            "pg_proc" => "pg_proc",
            _ => "pg_type",
        };
        // An object that went since the look has no description, and stands on nothing.
        let (Some(name), Some(on)) = (row.optional("name")?, row.optional("on")?) else { continue };
        let object = Found { catalog, oid: row.parse("oid")? };
        standing.push(Standing { object, name: name.to_owned(), on: on.to_owned() });
    }
    Ok(standing)
}

/// The options that would select these objects too, as far as the backup has them.
fn options(
    entries: &[Entry],
    there: &There,
    rename: &Rename,
    selection: &Selection,
    objects: &BTreeSet<Found>,
) -> Vec<String> {
    let mut options = BTreeSet::new();
    for (at, entry) in entries.iter().enumerate() {
        let (Some(schema), Some(_)) = (&entry.schema, &entry.relation) else { continue };
        if there.find(entries, at, rename).is_some_and(|found| objects.contains(&found)) {
            options.insert(if selection.selects_by_table() {
                format!("-t {}", as_table_pattern(schema, &entry.name))
            } else {
                format!("-n {}", as_pattern(schema))
            });
        }
    }
    options.into_iter().collect()
}

/// A name as a pattern that only it matches, for a shell.
fn as_pattern(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { in_shell(&crate::postgres::identifier(name)) }
}

fn as_table_pattern(schema: &str, name: &str) -> String {
    if is_plain(schema) && is_plain(name) {
        format!("{schema}.{name}")
    } else {
        in_shell(&qualified(schema, name))
    }
}

fn in_shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_words_of_a_shell() {
        assert_eq!(as_table_pattern("app", "jobs"), "app.jobs");
        assert_eq!(as_table_pattern("app", "Jobs"), "'\"app\".\"Jobs\"'");
        assert_eq!(as_pattern("it's"), "'\"it'\\''s\"'");
    }
}
