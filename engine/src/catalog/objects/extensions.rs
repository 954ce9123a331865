//! Extensions. What belongs to one is made by `CREATE EXTENSION`; only the rows of its
//! configuration tables are the user's.

use crate::catalog::array;
use crate::catalog::context::Context;
use crate::catalog::satellites::FIRST_USER_OID;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft};
use crate::postgres::identifier;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Kind, Section};

/// Every extension. Its version is not told: the target takes its own default, as with
/// `pg_dump`.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::object("pg_extension", "oid"),
            "SELECT e.oid, e.extname, n.nspname \
             FROM pg_catalog.pg_extension e \
             JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace \
             ORDER BY e.extname",
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let name = row.text("extname")?;
        let target = format!("EXTENSION {}", identifier(name));
        let schema = identifier(row.text("nspname")?);
        let oid: u32 = row.parse("oid")?;
        let mut draft = Draft::new(Kind::Extension, Section::PreData, None, name);
        draft.address = Some(Address::new("pg_extension", oid));
        draft.body =
            format!("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {schema};", identifier(name))
                .into();
        // What initdb made (plpgsql) every database has, and its comment is the server's.
        if oid >= FIRST_USER_OID {
            draft.drop = Some(format!("DROP {target};"));
            draft.target = Some(target);
        }
        drafts.push(draft);
    }
    Ok(drafts)
}

/// The relations that extensions registered by `pg_extension_config_dump`, each with the
/// condition that its rows must meet to be the user's: empty, or beginning with `WHERE`.
pub(in crate::catalog) async fn configuration_tables(
    context: &Context<'_>,
) -> Result<Vec<(u32, String)>> {
    let rows = context
        .ask(
            Owner::object("pg_extension", "oid"),
            "SELECT oid, extconfig, extcondition FROM pg_catalog.pg_extension \
             WHERE extconfig IS NOT NULL ORDER BY extname",
        )
        .await?;
    let mut tables = Vec::new();
    for row in &rows {
        let oids = array::optional_elements(row.optional("extconfig")?)?.unwrap_or_default();
        let conditions =
            array::optional_elements(row.optional("extcondition")?)?.unwrap_or_default();
        for (position, oid) in oids.iter().enumerate() {
            let condition = conditions.get(position).cloned().unwrap_or_default();
            let oid = oid.parse().map_err(|_| {
                Error::new(ErrorKind::Server, format!("server returned \"{oid}\" for an OID"))
            })?;
            tables.push((oid, condition));
        }
    }
    Ok(tables)
}
