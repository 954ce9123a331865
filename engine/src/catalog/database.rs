//! Facts of the database as a whole, for the manifest and for creating it anew.

use crate::catalog::source::{Owner, Source};
use crate::{Error, ErrorKind, Result};

/// What the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// Its name.
    pub name: String,
    /// Its OID, to look up what speaks about it.
    pub oid: u32,
    /// Its encoding as the server calls it: `UTF8`.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// `c` (libc), `i` (ICU) or `b` (built in); servers before 15 know `c` alone.
    pub locale_provider: String,
    /// The provider's locale where it is not libc.
    pub locale: Option<String>,
    /// Rules added to an ICU locale.
    pub icu_rules: Option<String>,
    /// The cluster's system identifier; absent where the role may not ask.
    pub system_identifier: Option<u64>,
    /// `server_version_num`: 180004 for 18.4.
    pub server_version: u32,
}

/// Reads the facts.
pub(super) async fn facts(source: &Source<'_>) -> Result<DatabaseFacts> {
    let locale = match source.major() {
        ..=14 => "'c' AS provider, NULL AS locale, NULL AS icu_rules",
        15 => "datlocprovider AS provider, daticulocale AS locale, NULL AS icu_rules",
        16 => "datlocprovider AS provider, daticulocale AS locale, daticurules AS icu_rules",
        _ => "datlocprovider AS provider, datlocale AS locale, daticurules AS icu_rules",
    };
    let sql = format!(
        "SELECT oid, datname, pg_catalog.pg_encoding_to_char(encoding) AS encoding, \
                datcollate, datctype, {locale} \
         FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()"
    );
    let rows = source.ask(Owner::Whole, &sql).await?;
    let row = rows.first().ok_or_else(|| {
        Error::new(ErrorKind::Server, "server does not list the current database")
    })?;
    Ok(DatabaseFacts {
        name: row.text("datname")?.to_owned(),
        oid: row.parse("oid")?,
        encoding: row.text("encoding")?.to_owned(),
        collate: row.text("datcollate")?.to_owned(),
        ctype: row.text("datctype")?.to_owned(),
        locale_provider: row.text("provider")?.to_owned(),
        locale: row.optional("locale")?.map(str::to_owned),
        icu_rules: row.optional("icu_rules")?.map(str::to_owned),
        system_identifier: system_identifier(source).await?,
        server_version: source.version(),
    })
}

/// Asked apart: a server may have taken the right to ask away from ordinary roles.
async fn system_identifier(source: &Source<'_>) -> Result<Option<u64>> {
    let allowed = source
        .ask(
            Owner::Whole,
            "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', \
             'EXECUTE') AS allowed",
        )
        .await?;
    match allowed.first() {
        Some(row) if row.bool("allowed")? => {}
        _ => return Ok(None),
    }
    let rows = source
        .ask(Owner::Whole, "SELECT system_identifier FROM pg_catalog.pg_control_system()")
        .await?;
    match rows.first() {
        // The server keeps 64 bits without a sign and shows them with one.
        Some(row) => Ok(Some(row.parse::<i64>("system_identifier")?.cast_unsigned())),
        None => Ok(None),
    }
}
