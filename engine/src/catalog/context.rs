//! What every catalog query needs to know: the session, and which objects are an
//! extension's own (those are made by `CREATE EXTENSION` and never by an entry).

use super::Address;
use crate::Result;
use crate::postgres::Session;
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
    pub(crate) session: &'a Session,
    members: HashMap<Address, u32>,
}

impl<'a> Context<'a> {
    /// Reads which objects belong to extensions.
    pub(crate) async fn new(session: &'a Session) -> Result<Self> {
        let mut members = HashMap::new();
        let sql = "SELECT d.classid::pg_catalog.regclass::pg_catalog.text AS catalog, d.objid, d.refobjid \
                   FROM pg_catalog.pg_depend d \
                   WHERE d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass";
        for row in session.query(sql).await? {
            let name = row.text("catalog")?;
            let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
            if let Some(catalog) = catalog(name) {
                members.insert(Address::new(catalog, row.parse("objid")?), row.parse("refobjid")?);
            }
        }
        Ok(Self { session, members })
    }

    /// The OID of the extension that an object is a member of.
    pub(crate) fn extension_of(&self, object: Address) -> Option<u32> {
        self.members.get(&object).copied()
    }
}
