//! Subscriptions. A restored one neither connects nor is enabled: two databases that fetch
//! from one slot would each miss what the other got. Whoever restores decides which goes on.

use crate::Result;
use crate::catalog::array;
use crate::catalog::context::Context;
use crate::catalog::source::Owner;
use crate::catalog::{Address, DatabaseFacts, Draft};
use crate::postgres::{Row, identifier, literal};
use pgkeep_format::entry::{Kind, Section};

/// Every subscription of the database; none where the role may not see how they connect.
///
/// The connection string may hold a password; it is part of the definition, as with
/// `pg_dump`, and the backup seals it.
pub(in crate::catalog) async fn read(
    context: &Context<'_>,
    database: &DatabaseFacts,
) -> Result<Vec<Draft>> {
    if !may_read(context).await? {
        return Ok(Vec::new());
    }
    let since = |major: u32, column: &'static str, before: &'static str| {
        if context.major() >= major { column } else { before }
    };
    let rows = context
        .ask(
            Owner::object("pg_subscription", "oid"),
            &format!(
                "SELECT s.oid, s.subname, r.rolname AS owner, s.subconninfo, s.subslotname, \
                    s.subsynccommit, s.subpublications, s.subbinary, \
                    {} AS streaming, {} AS two_phase, {} AS disable_on_error, \
                    {} AS password_required, {} AS run_as_owner, {} AS origin, {} AS failover \
             FROM pg_catalog.pg_subscription s \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.subowner \
             WHERE s.subdbid = {} ORDER BY s.subname COLLATE \"C\"",
                since(16, "s.substream", "CASE WHEN s.substream THEN 't' ELSE 'f' END"),
                since(15, "s.subtwophasestate", "'d'"),
                since(15, "s.subdisableonerr", "false"),
                since(16, "s.subpasswordrequired", "true"),
                since(16, "s.subrunasowner", "false"),
                since(16, "s.suborigin", "'any'"),
                since(17, "s.subfailover", "false"),
                database.oid
            ),
        )
        .await?;
    rows.iter().map(draft).collect()
}

async fn may_read(context: &Context<'_>) -> Result<bool> {
    let sql = "SELECT pg_catalog.has_column_privilege( \
               'pg_catalog.pg_subscription', 'subconninfo', 'SELECT') AS allowed";
    match context.ask(Owner::Whole, sql).await?.first() {
        Some(row) => row.bool("allowed"),
        None => Ok(false),
    }
}

fn draft(row: &Row) -> Result<Draft> {
    let name = row.text("subname")?;
    let target = format!("SUBSCRIPTION {}", identifier(name));
    let mut draft = Draft::new(Kind::Subscription, Section::PostData, None, name);
    draft.address = Some(Address::new("pg_subscription", row.parse("oid")?));
    draft.owner = row.optional("owner")?.map(str::to_owned);
    let publications = array::optional_elements(row.optional("subpublications")?)?;
    let publications: Vec<String> =
        publications.unwrap_or_default().iter().map(|name| identifier(name)).collect();
    draft.body = format!(
        "CREATE {target} CONNECTION {} PUBLICATION {} WITH ({});",
        literal(row.text("subconninfo")?),
        publications.join(", "),
        options(row)?.join(", ")
    )
    .into();
    // With a slot, DROP would connect to the publisher and drop the slot there, which another
    // database may be using by now.
    draft.drop = Some(format!(
        "ALTER {target} DISABLE; ALTER {target} SET (slot_name = NONE); DROP {target};"
    ));
    draft.target = Some(target);
    Ok(draft)
}

/// What stands in `WITH (…)`: all that is not the default, so that older servers, which know
/// fewer options, take it too.
/// See <https://www.postgresql.org/docs/18/sql-createsubscription.html>.
fn options(row: &Row) -> Result<Vec<String>> {
    let mut options = vec!["connect = false".to_owned()];
    let slot = row.optional("subslotname")?.map_or_else(|| "NONE".to_owned(), literal);
    options.push(format!("slot_name = {slot}"));
    if row.bool("subbinary")? {
        options.push("binary = true".to_owned());
    }
    match row.text("streaming")? {
        "t" => options.push("streaming = on".to_owned()),
        "p" => options.push("streaming = parallel".to_owned()),
        // The default since 18; said where it would otherwise become parallel.
        _ => options.push("streaming = off".to_owned()),
    }
    if row.text("subsynccommit")? != "off" {
        options.push(format!("synchronous_commit = {}", literal(row.text("subsynccommit")?)));
    }
    if row.text("two_phase")? != "d" {
        options.push("two_phase = true".to_owned());
    }
    if row.bool("disable_on_error")? {
        options.push("disable_on_error = true".to_owned());
    }
    if !row.bool("password_required")? {
        options.push("password_required = false".to_owned());
    }
    if row.bool("run_as_owner")? {
        options.push("run_as_owner = true".to_owned());
    }
    if row.text("origin")? != "any" {
        options.push(format!("origin = {}", literal(row.text("origin")?)));
    }
    if row.bool("failover")? {
        options.push("failover = true".to_owned());
    }
    Ok(options)
}
