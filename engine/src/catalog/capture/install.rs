//! What is installed in a database, as statements, and what removes it again.
//!
//! Installed again, it replaces what another version installed; what it remembers of replica
//! identities, and of tables whose rows the stream lacks, stays.

use super::fingerprint;
use crate::postgres::literal;
use pgkeep_format::catalog_image::CatalogImage;

/// Bytes of a table, TOAST included and as stored, up to which its rows go into the WAL once more
/// when a command rewrote or filled it: the command has just written as many.
const ROWS_BYTES_MAX: u64 = 16 << 20;

/// Statements that make what remembers which tables got `REPLICA IDENTITY FULL` for the stream
/// alone: `pgkeep.full_identity (relid)`.
pub const MEMORY: [&str; 2] = [
    "CREATE SCHEMA IF NOT EXISTS pgkeep;",
    "CREATE TABLE IF NOT EXISTS pgkeep.full_identity (relid oid PRIMARY KEY);",
];

/// How tables get into the stream that are made or altered after the installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publishing {
    /// The publication that they join.
    pub publication: String,
    /// Whether one that nothing identifies rows of gets `REPLICA IDENTITY FULL`; else it is not
    /// in the stream.
    pub keyless: bool,
}

/// Statements that install the capture of DDL, in order; `image` is one of the same database,
/// read by the same role, and tells the queries whose answers are to be kept up to date.
///
/// All belong into one transaction, by a role that may create event triggers. The functions
/// run with the rights of that role, so that any other can go on with its DDL.
#[must_use]
pub fn installation(image: &CatalogImage, publishing: &Publishing) -> Vec<String> {
    let mut statements: Vec<String> = EVENT_TRIGGERS
        .iter()
        .map(|(name, ..)| format!("DROP EVENT TRIGGER IF EXISTS {name};"))
        .collect();
    let tables = [
        MEMORY[0],
        MEMORY[1],
        "CREATE TABLE IF NOT EXISTS pgkeep.token (token text PRIMARY KEY, installed xid8 NOT NULL);",
        "INSERT INTO pgkeep.token \
         SELECT pg_catalog.gen_random_uuid(), pg_catalog.pg_current_xact_id() \
         WHERE NOT EXISTS (SELECT FROM pgkeep.token);",
        "UPDATE pgkeep.token SET installed = pg_catalog.pg_current_xact_id();",
        "CREATE TABLE IF NOT EXISTS pgkeep.rewritten \
         (relid oid, xid xid8, PRIMARY KEY (relid, xid));",
        "DROP TABLE IF EXISTS pgkeep.armed, pgkeep.touched, pgkeep.catalog_query;",
        "DROP FUNCTION IF EXISTS pgkeep.say(text[]), pgkeep.emit(xid8, boolean), \
         pgkeep.capture(), pgkeep.arm(), pgkeep.arm_drop(), pgkeep.arm_rewrite(), \
         pgkeep.publish(oid[]), pgkeep.layout(oid[]), pgkeep.rows(xid8);",
        "CREATE UNLOGGED TABLE pgkeep.armed (xid xid8 PRIMARY KEY, spreads boolean NOT NULL);",
        "CREATE UNLOGGED TABLE pgkeep.touched \
         (xid xid8 NOT NULL, classid oid NOT NULL, objid oid NOT NULL, how text NOT NULL);",
        "CREATE INDEX ON pgkeep.touched (xid);",
        "CREATE TABLE pgkeep.catalog_query (number integer PRIMARY KEY, sql text NOT NULL, \
         catalog text, catalog_column text, oid_column text);",
    ];
    statements.extend(tables.map(str::to_owned));
    for (number, answer) in image.answers.iter().enumerate() {
        let nullable = |text: &Option<String>| text.as_deref().map_or("NULL".to_owned(), literal);
        statements.push(format!(
            "INSERT INTO pgkeep.catalog_query VALUES ({number}, {}, {}, {}, {});",
            literal(&answer.sql),
            nullable(&answer.owner.catalog),
            nullable(&answer.owner.catalog_column),
            nullable(&answer.owner.oid_column),
        ));
    }
    let emit = include_str!("emit.sql")
        .replace("%WRITTEN%", &written(image.server_version / 10_000))
        .replace("%QUERIES%", &fingerprint(image));
    let publish = include_str!("publish.sql")
        .replace("%PUBLICATION%", &literal(&publishing.publication))
        .replace("%FULL%", if publishing.keyless { "true" } else { "false" });
    let rows = include_str!("rows.sql").replace("%ROWS_BYTES_MAX%", &ROWS_BYTES_MAX.to_string());
    statements.extend([
        include_str!("say.sql").to_owned(),
        include_str!("layout.sql").to_owned(),
        publish,
        rows,
        emit,
        include_str!("capture.sql").to_owned(),
        include_str!("arm.sql").to_owned(),
        include_str!("arm_drop.sql").to_owned(),
        include_str!("arm_rewrite.sql").to_owned(),
        "REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgkeep FROM PUBLIC;".to_owned(),
        "CREATE CONSTRAINT TRIGGER capture AFTER INSERT ON pgkeep.armed \
         DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pgkeep.capture();"
            .to_owned(),
        "ALTER TABLE pgkeep.armed ENABLE ALWAYS TRIGGER capture;".to_owned(),
    ]);
    for (name, event, function) in EVENT_TRIGGERS {
        statements.push(format!(
            "CREATE EVENT TRIGGER {name} ON {event} EXECUTE FUNCTION pgkeep.{function}();"
        ));
        // Also where a session says that it is a replica, which is no other to us.
        statements.push(format!("ALTER EVENT TRIGGER {name} ENABLE ALWAYS;"));
    }
    statements
}

/// Statements that remove all that [`installation`] made, in order; what is not there is no
/// error.
#[must_use]
pub fn removal() -> Vec<String> {
    let triggers = EVENT_TRIGGERS.iter();
    triggers
        .map(|(name, ..)| format!("DROP EVENT TRIGGER IF EXISTS {name};"))
        .chain(["DROP SCHEMA IF EXISTS pgkeep CASCADE;".to_owned()])
        .collect()
}

/// Name, event and function of each event trigger.
const EVENT_TRIGGERS: &[(&str, &str, &str)] = &[
    ("pgkeep_commands", "ddl_command_end", "arm"),
    ("pgkeep_drops", "sql_drop", "arm_drop"),
    ("pgkeep_rewrites", "table_rewrite", "arm_rewrite"),
];

/// Catalogs whose rows are objects themselves.
const OBJECTS: &[&str] = &[
    "pg_am",
    "pg_amop",
    "pg_amproc",
    "pg_attrdef",
    "pg_cast",
    "pg_class",
    "pg_collation",
    "pg_constraint",
    "pg_conversion",
    "pg_default_acl",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_language",
    "pg_namespace",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_policy",
    "pg_proc",
    "pg_publication",
    "pg_publication_rel",
    "pg_rewrite",
    "pg_statistic_ext",
    "pg_subscription",
    "pg_transform",
    "pg_trigger",
    "pg_ts_config",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_type",
    "pg_user_mapping",
];

/// Catalogs whose rows are about an object: the catalog, the object's, and the column of its
/// OID.
const PARTS: &[(&str, &str, &str)] = &[
    ("pg_aggregate", "pg_proc", "aggfnoid::oid"),
    ("pg_attribute", "pg_class", "attrelid"),
    ("pg_enum", "pg_type", "enumtypid"),
    ("pg_foreign_table", "pg_class", "ftrelid"),
    ("pg_index", "pg_class", "indexrelid"),
    ("pg_inherits", "pg_class", "inhrelid"),
    ("pg_partitioned_table", "pg_class", "partrelid"),
    ("pg_range", "pg_type", "rngtypid"),
    ("pg_sequence", "pg_class", "seqrelid"),
    ("pg_ts_config_map", "pg_ts_config", "mapcfg"),
];

/// Catalogs whose rows name the catalog and the OID of the object that they are about.
const ADDRESSED: &[(&str, &str, &str)] = &[
    ("pg_depend", "classid", "objid"),
    ("pg_description", "classoid", "objoid"),
    ("pg_init_privs", "classoid", "objoid"),
    ("pg_seclabel", "classoid", "objoid"),
];

/// The arms of the query of all that a transaction wrote, after the first one.
fn written(major: u32) -> String {
    let mut arms = String::new();
    let mut arm = |catalog: &str, class: &str, oid: &str| {
        arms += &format!(
            "UNION SELECT {class}, w.{oid} FROM {catalog} w WHERE age(w.xmin) <= horizon\n    "
        );
    };
    let since_15 = (major >= 15).then_some("pg_publication_namespace");
    for catalog in OBJECTS.iter().copied().chain(since_15) {
        arm(catalog, &format!("'{catalog}'::regclass"), "oid");
    }
    for (catalog, of, oid) in PARTS {
        arm(catalog, &format!("'{of}'::regclass"), oid);
    }
    for (catalog, class, oid) in ADDRESSED {
        arm(catalog, &format!("w.{class}"), oid);
    }
    arms
}
