//! What every catalog query needs to know: the session, and which objects are an
//! extension's own (those are made by `CREATE EXTENSION` and never by an entry).

use super::Address;
use super::source::{Owner, Source};
use crate::Result;
use crate::postgres::{Row, identifier};
use std::collections::HashMap;

/// The catalogs that objects are addressed in, so that an address can hold a `&'static str`.
const CATALOGS: &[&str] = &[
    "pg_am",
    "pg_amop",
    "pg_amproc",
    "pg_attrdef",
    "pg_authid",
    "pg_cast",
    "pg_class",
    "pg_collation",
    "pg_constraint",
    "pg_conversion",
    "pg_database",
    "pg_default_acl",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_language",
    "pg_largeobject",
    "pg_namespace",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_policy",
    "pg_proc",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_rewrite",
    "pg_statistic_ext",
    "pg_subscription",
    "pg_tablespace",
    "pg_transform",
    "pg_trigger",
    "pg_ts_config",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_type",
    "pg_user_mapping",
];

/// The name of a catalog as [`Address`] holds it; absent for one that holds no objects
/// that a backup knows.
#[must_use]
pub(crate) fn catalog(name: &str) -> Option<&'static str> {
    CATALOGS.iter().find(|known| **known == name).copied()
}

/// Shared by all catalog readers.
pub(crate) struct Context<'a> {
    /// Where to ask.
    pub(crate) source: &'a Source<'a>,
    members: HashMap<Address, u32>,
    followers: HashMap<Address, Vec<String>>,
}

impl<'a> Context<'a> {
    /// Reads which objects belong to extensions, or go when one goes.
    pub(crate) async fn new(source: &'a Source<'a>) -> Result<Self> {
        let mut members = HashMap::new();
        let mut followers: HashMap<Address, Vec<String>> = HashMap::new();
        let sql = "SELECT c.relname AS catalog, d.objid, d.refobjid, d.deptype, e.extname \
                   FROM pg_catalog.pg_depend d \
                   JOIN pg_catalog.pg_class c ON c.oid = d.classid \
                   JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid \
                   WHERE d.deptype IN ('e', 'x') \
                   AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass \
                   ORDER BY e.extname, d.deptype";
        for row in source.ask(Owner::address("catalog", "objid"), sql).await? {
            let Some(catalog) = catalog(row.text("catalog")?) else { continue };
            let address = Address::new(catalog, row.parse("objid")?);
            if row.text("deptype")? == "e" {
                members.insert(address, row.parse("refobjid")?);
            } else {
                followers.entry(address).or_default().push(row.text("extname")?.to_owned());
            }
        }
        Ok(Self { source, members, followers })
    }

    /// Asks one catalog query; `owner` says to which object each row belongs.
    pub(crate) async fn ask(&self, owner: Owner, sql: &str) -> Result<Vec<Row>> {
        self.source.ask(owner, sql).await
    }

    /// The OID of the extension that an object is a member of.
    pub(crate) fn extension_of(&self, object: Address) -> Option<u32> {
        self.members.get(&object).copied()
    }

    /// Statements `ALTER … DEPENDS ON EXTENSION …;`, a line each, for an object that goes
    /// when an extension goes; `target` is what ALTER calls it.
    pub(crate) fn depends_on_extension(&self, object: Address, target: &str) -> String {
        let names = self.followers.get(&object).map_or(&[][..], Vec::as_slice);
        names
            .iter()
            .map(|name| format!("ALTER {target} DEPENDS ON EXTENSION {};\n", identifier(name)))
            .collect()
    }

    /// The server's version as `server_version_num` gives it.
    pub(crate) fn version(&self) -> u32 {
        self.source.version()
    }

    /// The server's major version.
    pub(crate) fn major(&self) -> u32 {
        self.source.major()
    }
}
