//! What rows are copied into: their table, or, for the contents of large objects, a
//! temporary table from which the server puts them where they belong.

use crate::postgres::{identifier, qualified};
use pgkeep_format::entry::{Data, Entry, Kind};

const LARGE_OBJECTS: &str = "pg_temp.pgkeep_large_objects";
const LARGE_OBJECTS_BEGIN: &str = "CREATE TEMPORARY TABLE pgkeep_large_objects \
    (loid pg_catalog.oid, \"offset\" bigint, data bytea);";
const LARGE_OBJECTS_END: &str = "SELECT pg_catalog.count(\
    pg_catalog.lo_put(loid, \"offset\", data)::pg_catalog.text) \
    FROM pg_temp.pgkeep_large_objects; DROP TABLE pg_temp.pgkeep_large_objects;";

/// Where rows go, as SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsTarget {
    /// Statements to run first, each ended by `;`; may be empty. If not, all is to be one
    /// transaction.
    pub before: &'static str,
    /// What `COPY` names: a table, with its columns where it has any.
    pub copy: String,
    /// Statements to run afterwards, each ended by `;`; may be empty.
    pub after: &'static str,
}

/// Where the rows `data` of `entry` go: into the table of this schema and name.
#[must_use]
pub fn rows_target(entry: &Entry, data: &Data, schema: &str, table: &str) -> RowsTarget {
    if entry.kind == Kind::LargeObjectData {
        return RowsTarget {
            before: LARGE_OBJECTS_BEGIN,
            copy: LARGE_OBJECTS.to_owned(),
            after: LARGE_OBJECTS_END,
        };
    }
    let columns: Vec<String> = data.columns.iter().map(|column| identifier(column)).collect();
    let columns =
        if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
    let copy = format!("{}{columns}", qualified(schema, table));
    RowsTarget { before: "", copy, after: "" }
}
