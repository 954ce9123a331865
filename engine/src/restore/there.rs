//! What the target has: its objects by kind and name, as entries name them.

use super::rename::Rename;
use crate::Result;
use crate::postgres::Session;
use pgkeep_format::entry::{Entry, EntryKind, Kind};
use std::collections::{BTreeSet, HashMap};

/// An object's catalog and OID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Found {
    pub(super) catalog: &'static str,
    pub(super) oid: u32,
}

/// A class of objects that share their names, and a name: schema (empty where the class
/// has none; with its table for what is named in a table) and name.
type Object = (&'static str, String, String);

/// The objects of a database.
#[derive(Debug, Default)]
pub(super) struct There(HashMap<Object, Found>);

/// Classes of objects: name, catalog, and a query of their OIDs, schemas and names.
const CLASSES: &[(&str, &str, &str)] = &[
    ("schema", "pg_namespace", "SELECT oid, '', nspname FROM pg_catalog.pg_namespace"),
    ("extension", "pg_extension", "SELECT oid, '', extname FROM pg_catalog.pg_extension"),
    ("language", "pg_language", "SELECT oid, '', lanname FROM pg_catalog.pg_language"),
    ("access method", "pg_am", "SELECT oid, '', amname FROM pg_catalog.pg_am"),
    (
        "relation",
        "pg_class",
        "SELECT c.oid, nspname, relname FROM pg_catalog.pg_class c \
         JOIN users n ON n.oid = relnamespace",
    ),
    (
        "type",
        "pg_type",
        "SELECT t.oid, nspname, typname FROM pg_catalog.pg_type t \
         JOIN users n ON n.oid = typnamespace",
    ),
    (
        "function",
        "pg_proc",
        "SELECT p.oid, nspname, proname || '(' || \
           (SELECT coalesce(pg_catalog.string_agg(pg_catalog.format_type(a.type, NULL), ', ' \
              ORDER BY a.position), '') \
            FROM pg_catalog.unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (type, position)) \
           || ')' FROM pg_catalog.pg_proc p JOIN users n ON n.oid = pronamespace",
    ),
    (
        "operator",
        "pg_operator",
        "SELECT o.oid, nspname, oprname || ' (' || \
           CASE WHEN oprleft <> 0 THEN pg_catalog.format_type(oprleft, NULL) ELSE 'NONE' END || ', ' || \
           CASE WHEN oprright <> 0 THEN pg_catalog.format_type(oprright, NULL) ELSE 'NONE' END || ')' \
         FROM pg_catalog.pg_operator o JOIN users n ON n.oid = oprnamespace WHERE oprcode <> 0",
    ),
    (
        "operator class",
        "pg_opclass",
        "SELECT c.oid, nspname, opcname || ' USING ' || amname FROM pg_catalog.pg_opclass c \
         JOIN users n ON n.oid = opcnamespace JOIN pg_catalog.pg_am a ON a.oid = opcmethod",
    ),
    (
        "operator family",
        "pg_opfamily",
        "SELECT f.oid, nspname, opfname || ' USING ' || amname FROM pg_catalog.pg_opfamily f \
         JOIN users n ON n.oid = opfnamespace JOIN pg_catalog.pg_am a ON a.oid = opfmethod",
    ),
    (
        "cast",
        "pg_cast",
        "SELECT oid, '', '(' || pg_catalog.format_type(castsource, NULL) || ' AS ' || \
           pg_catalog.format_type(casttarget, NULL) || ')' FROM pg_catalog.pg_cast",
    ),
    (
        "transform",
        "pg_transform",
        "SELECT t.oid, '', pg_catalog.format_type(trftype, NULL) || ' ' || lanname \
         FROM pg_catalog.pg_transform t JOIN pg_catalog.pg_language l ON l.oid = trflang",
    ),
    (
        "collation",
        "pg_collation",
        "SELECT c.oid, nspname, collname FROM pg_catalog.pg_collation c \
         JOIN users n ON n.oid = collnamespace",
    ),
    (
        "conversion",
        "pg_conversion",
        "SELECT c.oid, nspname, conname FROM pg_catalog.pg_conversion c \
         JOIN users n ON n.oid = connamespace",
    ),
    (
        "text search parser",
        "pg_ts_parser",
        "SELECT p.oid, nspname, prsname FROM pg_catalog.pg_ts_parser p \
         JOIN users n ON n.oid = prsnamespace",
    ),
    (
        "text search template",
        "pg_ts_template",
        "SELECT t.oid, nspname, tmplname FROM pg_catalog.pg_ts_template t \
         JOIN users n ON n.oid = tmplnamespace",
    ),
    (
        "text search dictionary",
        "pg_ts_dict",
        "SELECT d.oid, nspname, dictname FROM pg_catalog.pg_ts_dict d \
         JOIN users n ON n.oid = dictnamespace",
    ),
    (
        "text search configuration",
        "pg_ts_config",
        "SELECT c.oid, nspname, cfgname FROM pg_catalog.pg_ts_config c \
         JOIN users n ON n.oid = cfgnamespace",
    ),
    (
        "foreign data wrapper",
        "pg_foreign_data_wrapper",
        "SELECT oid, '', fdwname FROM pg_catalog.pg_foreign_data_wrapper",
    ),
    ("server", "pg_foreign_server", "SELECT oid, '', srvname FROM pg_catalog.pg_foreign_server"),
    (
        "user mapping",
        "pg_user_mapping",
        "SELECT umid, '', usename || ' SERVER ' || srvname FROM pg_catalog.pg_user_mappings \
         WHERE usename IS NOT NULL",
    ),
    ("publication", "pg_publication", "SELECT oid, '', pubname FROM pg_catalog.pg_publication"),
    (
        "subscription",
        "pg_subscription",
        "SELECT s.oid, '', subname FROM pg_catalog.pg_subscription s \
         JOIN pg_catalog.pg_database d ON d.oid = subdbid \
         WHERE datname = pg_catalog.current_database()",
    ),
    (
        "event trigger",
        "pg_event_trigger",
        "SELECT oid, '', evtname FROM pg_catalog.pg_event_trigger",
    ),
    (
        "constraint",
        "pg_constraint",
        "SELECT k.oid, nspname || '.' || relname, conname FROM pg_catalog.pg_constraint k \
         JOIN pg_catalog.pg_class c ON c.oid = conrelid JOIN users n ON n.oid = relnamespace",
    ),
    (
        "trigger",
        "pg_trigger",
        "SELECT t.oid, nspname || '.' || relname, tgname FROM pg_catalog.pg_trigger t \
         JOIN pg_catalog.pg_class c ON c.oid = tgrelid JOIN users n ON n.oid = relnamespace \
         WHERE NOT tgisinternal",
    ),
    (
        "policy",
        "pg_policy",
        "SELECT p.oid, nspname || '.' || relname, polname FROM pg_catalog.pg_policy p \
         JOIN pg_catalog.pg_class c ON c.oid = polrelid JOIN users n ON n.oid = relnamespace",
    ),
];

/// Classes whose names are those of one table.
const OF_A_TABLE: &[&str] = &["constraint", "trigger", "policy"];

impl There {
    /// Looks at all objects of the session's database but those that every database has, of the
    /// classes that entries are of.
    pub(super) async fn look(session: &Session, entries: &[Entry]) -> Result<Self> {
        let wanted: BTreeSet<&str> = entries.iter().filter_map(class).collect();
        if wanted.is_empty() {
            return Ok(Self::default());
        }
        let classes = CLASSES.iter().enumerate().filter(|(_, class)| wanted.contains(class.0));
        let parts = classes.map(|(class, (_, _, query))| {
            format!("SELECT {class} AS class, o.* FROM ({query}) AS o (oid, schema, name)")
        });
        let sql = format!(
            "WITH users AS (SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname NOT IN \
               ('pg_catalog', 'information_schema', 'pg_toast')) {}",
            parts.collect::<Vec<_>>().join(" UNION ALL ")
        );
        let mut objects = HashMap::new();
        for row in session.query(&sql).await? {
            if let Some((class, catalog, _)) = CLASSES.get(row.parse::<usize>("class")?) {
                let object = (*class, row.text("schema")?.to_owned(), row.text("name")?.to_owned());
                objects.insert(object, Found { catalog, oid: row.parse("oid")? });
            }
        }
        Ok(Self(objects))
    }

    /// The object that has an entry's name, where its kind has names of its own.
    pub(super) fn find(&self, entries: &[Entry], at: usize, rename: &Rename) -> Option<Found> {
        object(entries, at, rename).and_then(|object| self.0.get(&object)).copied()
    }

    /// Whether an entry's object is there. What has no name of its own is where the object is
    /// that it is a part of.
    pub(super) fn has(&self, entries: &[Entry], at: usize, rename: &Rename) -> bool {
        let own = object(entries, at, rename);
        let whole = || object(entries, entries[at].belongs_to? as usize, rename);
        own.or_else(whole).is_some_and(|object| self.0.contains_key(&object))
    }

    /// Whether an entry's object can be looked for, by a name of its own.
    pub(super) fn knows(entries: &[Entry], at: usize) -> bool {
        entries.get(at).is_some_and(|entry| class(entry).is_some())
    }

    /// Whether it is known that an entry's object is not there.
    pub(super) fn lacks(&self, entries: &[Entry], at: usize, rename: &Rename) -> bool {
        is_named(entries, at) && !self.has(entries, at, rename)
    }
}

/// Whether an entry, or what it is a part of, can be found by name.
fn is_named(entries: &[Entry], at: usize) -> bool {
    let whole = entries[at].belongs_to.map(|whole| whole as usize);
    There::knows(entries, at) || whole.is_some_and(|whole| There::knows(entries, whole))
}

/// What an entry would be there; absent for entries that have no name of their own.
fn object(entries: &[Entry], at: usize, rename: &Rename) -> Option<Object> {
    let entry = entries.get(at)?;
    let class = class(entry)?;
    let schema = entry.schema.as_deref().map_or("", |schema| rename.new_name(schema));
    let name = if class == "schema" { rename.new_name(&entry.name) } else { &entry.name };
    if !OF_A_TABLE.contains(&class) {
        return Some((class, schema.to_owned(), name.to_owned()));
    }
    let table = entries.get(entry.belongs_to? as usize).filter(|whole| whole.relation.is_some())?;
    Some((class, format!("{schema}.{}", table.name), name.to_owned()))
}

fn class(entry: &Entry) -> Option<&'static str> {
    let EntryKind::Known(kind) = &entry.kind else { return None };
    Some(match kind {
        Kind::Schema => "schema",
        Kind::Extension => "extension",
        Kind::Language => "language",
        Kind::AccessMethod => "access method",
        Kind::Table
        | Kind::ForeignTable
        | Kind::View
        | Kind::MaterializedView
        | Kind::Sequence
        | Kind::Index => "relation",
        Kind::Type | Kind::ShellType | Kind::Domain => "type",
        Kind::Function | Kind::Procedure | Kind::Aggregate => "function",
        Kind::Operator => "operator",
        Kind::OperatorClass => "operator class",
        Kind::OperatorFamily => "operator family",
        Kind::Cast => "cast",
        Kind::Transform => "transform",
        Kind::Collation => "collation",
        Kind::Conversion => "conversion",
        Kind::TextSearchParser => "text search parser",
        Kind::TextSearchTemplate => "text search template",
        Kind::TextSearchDictionary => "text search dictionary",
        Kind::TextSearchConfiguration => "text search configuration",
        Kind::ForeignDataWrapper => "foreign data wrapper",
        Kind::Server => "server",
        Kind::UserMapping => "user mapping",
        Kind::Publication => "publication",
        Kind::Subscription => "subscription",
        Kind::EventTrigger => "event trigger",
        Kind::Constraint | Kind::ForeignKey => "constraint",
        Kind::Trigger => "trigger",
        Kind::Policy => "policy",
        _ => return None,
    })
}
