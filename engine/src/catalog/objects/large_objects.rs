//! Large objects: that they exist, whose they are, and the query that reads their bytes.
//!
//! There may be millions of them, so one draft stands for up to a thousand that share owner
//! and privileges.

use crate::catalog::array;
use crate::catalog::context::Context;
use crate::catalog::{Address, Draft, Privileges, Rows};
use crate::postgres::Row;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Kind, Section};

/// Large objects in one draft.
const GROUP: usize = 1000;

/// Bytes of a large object in one row, at most.
const PIECE_LEN: usize = 1 << 20;

/// All large objects, and one draft for what they hold.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let rows = context
        .source
        .server()?
        .query(&format!(
            "SELECT pg_catalog.array_agg(m.oid ORDER BY m.oid) AS oids, r.rolname AS owner, \
                    m.acl, pg_catalog.acldefault('L', m.lomowner) AS standard \
             FROM (SELECT l.*, (pg_catalog.row_number() OVER ( \
                     PARTITION BY l.lomowner, l.acl ORDER BY l.oid) - 1) / {GROUP} AS part \
                   FROM (SELECT oid, lomowner, lomacl::pg_catalog.text AS acl \
                         FROM pg_catalog.pg_largeobject_metadata) l) m \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = m.lomowner \
             GROUP BY m.lomowner, r.rolname, m.acl, m.part \
             ORDER BY pg_catalog.min(m.oid)"
        ))
        .await?;
    let mut drafts = rows.iter().map(group).collect::<Result<Vec<_>>>()?;
    if !drafts.is_empty() {
        drafts.push(contents(context, &drafts).await?);
    }
    Ok(drafts)
}

fn group(row: &Row) -> Result<Draft> {
    let oids = array::optional_elements(row.optional("oids")?)?.unwrap_or_default();
    let mut addresses = oids.iter().map(|oid| match oid.parse() {
        Ok(number) => Ok(Address::new("pg_largeobject", number)),
        Err(_) => {
            Err(Error::new(ErrorKind::Server, format!("server returned \"{oid}\" for an OID")))
        }
    });
    let name = match oids.as_slice() {
        [first, .., last] => format!("{first}..{last}"),
        _ => oids.concat(),
    };
    let mut draft = Draft::new(Kind::LargeObject, Section::Data, None, &name);
    draft.address = addresses.next().transpose()?;
    draft.stands_for = addresses.collect::<Result<_>>()?;
    draft.owner = row.optional("owner")?.map(str::to_owned);
    let target = format!("LARGE OBJECT {}", oids.join(", "));
    draft.privileges.push(Privileges {
        target: target.clone(),
        column: None,
        items: array::optional_elements(row.optional("acl")?)?,
        default: array::optional_elements(row.optional("standard")?)?.unwrap_or_default(),
    });
    draft.target = Some(target);
    let list = format!("'{{{}}}'::pg_catalog.oid[]", oids.join(","));
    draft.body =
        format!("SELECT pg_catalog.lo_create(l.oid) FROM pg_catalog.unnest({list}) AS l (oid);")
            .into();
    // Some may be gone where they are dropped, and DROP's IF EXISTS has no like here.
    draft.drop = Some(format!(
        "SELECT pg_catalog.lo_unlink(m.oid) FROM pg_catalog.pg_largeobject_metadata m \
         WHERE m.oid = ANY ({list});"
    ));
    Ok(draft)
}

async fn contents(context: &Context<'_>, groups: &[Draft]) -> Result<Draft> {
    let rows = context
        .source
        .server()?
        .query(
            "SELECT pg_catalog.pg_relation_size('pg_catalog.pg_largeobject') \
                    / pg_catalog.current_setting('block_size')::pg_catalog.int8 AS pages",
        )
        .await?;
    let pages = match rows.first() {
        Some(row) => row.parse("pages")?,
        None => 0,
    };
    let mut draft = Draft::new(Kind::LargeObjectData, Section::Data, None, "BLOBS");
    draft.depends_on = groups.iter().filter_map(|group| group.address).collect();
    draft.rows = Some(Box::new(Rows {
        oid: 0,
        columns: ["loid", "offset", "data"].map(str::to_owned).to_vec(),
        numbers: Vec::new(),
        // oid, int8, bytea
        types: Some(vec![26, 20, 17]),
        query: Some(rows_query()),
        filter: None,
        pages,
        toast_pages: 0,
        is_heap: false,
    }));
    Ok(draft)
}

/// A query of all bytes of all large objects, in order: `loid oid`, `offset bigint` and
/// `data bytea` of at most [`PIECE_LEN`]. It needs no right on `pg_largeobject`, only
/// SELECT on each large object. An empty large object has no row.
///
/// The server cannot tell a large object's size without opening it, so each is opened
/// (262144 is `INV_READ`), measured and closed, one after another: each step needs the
/// result of the one before, and `OFFSET 0` keeps the planner from merging them.
fn rows_query() -> String {
    format!(
        "SELECT o.loid, p.start AS \"offset\", \
                pg_catalog.lo_get(o.loid, p.start, {PIECE_LEN}) AS data \
         FROM (SELECT m.oid AS loid, pg_catalog.lo_open(m.oid, 262144) AS descriptor \
               FROM (SELECT oid FROM pg_catalog.pg_largeobject_metadata ORDER BY oid) m \
               OFFSET 0) o \
         CROSS JOIN LATERAL ( \
           SELECT pg_catalog.lo_lseek64(o.descriptor, 0, 2) AS length OFFSET 0) s \
         CROSS JOIN LATERAL ( \
           SELECT CASE WHEN s.length >= 0 THEN pg_catalog.lo_close(o.descriptor) END AS closed \
           OFFSET 0) c \
         CROSS JOIN LATERAL pg_catalog.generate_series( \
           0, CASE c.closed WHEN 0 THEN s.length - 1 END, {PIECE_LEN}) AS p (start)"
    )
}
