//! What depends on what, as the server keeps it in `pg_depend`.

use crate::Result;
use crate::catalog::Address;
use crate::catalog::context::{self, Context};
use crate::catalog::source::Owner;
use std::collections::HashMap;

/// The dependencies among objects that may have drafts.
#[derive(Debug, Default)]
pub(in crate::catalog) struct Dependencies {
    /// (what depends, on what); columns stand for their relation.
    pub(in crate::catalog) edges: Vec<(Address, Address)>,
    /// Objects that are part of another one and made with it, with that one: an array
    /// type with its element type, a member with its extension.
    pub(in crate::catalog) inside: HashMap<Address, Address>,
}

/// Edges between an index or constraint of a partition and that of its partitioned
/// table (P, S) are made by attaching, so they say nothing of the order of creation. TOAST
/// tables come and go with rewrites, which nobody is told of.
pub(in crate::catalog) const DEPENDENCIES: &str = "SELECT c.relname AS catalog, d.objid, r.relname AS refcatalog, d.refobjid, d.deptype \
    FROM pg_catalog.pg_depend d \
    JOIN pg_catalog.pg_class c ON c.oid = d.classid \
    JOIN pg_catalog.pg_class r ON r.oid = d.refclassid \
    WHERE d.deptype IN ('n', 'a', 'i', 'e', 'x') \
    AND (d.classid, d.objid) <> (d.refclassid, d.refobjid) \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_class t \
      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND t.oid = d.objid \
      AND t.relnamespace = 'pg_toast'::pg_catalog.regnamespace)";

/// Reads all dependencies.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Dependencies> {
    let mut dependencies = Dependencies::default();
    for row in context.ask(Owner::address("catalog", "objid"), DEPENDENCIES).await? {
        let (Some(catalog), Some(referenced)) =
            (context::catalog(row.text("catalog")?), context::catalog(row.text("refcatalog")?))
        else {
            continue;
        };
        let from = Address::new(catalog, row.parse("objid")?);
        let to = Address::new(referenced, row.parse("refobjid")?);
        match row.text("deptype")? {
            "e" => {
                dependencies.inside.insert(from, to);
                continue;
            }
            "i" => {
                dependencies.inside.entry(from).or_insert(to);
            }
            _ => {}
        }
        dependencies.edges.push((from, to));
    }
    // The server lists them in no order, and nothing may hang on it.
    dependencies.edges.sort_unstable();
    dependencies.edges.dedup();
    Ok(dependencies)
}
