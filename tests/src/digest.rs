//! Rows of a database in a few words: for each table the count and an order independent
//! digest, computed by the server itself from the rows' text.
//!
//! Settings that change how a value is written are fixed first, so that source and copy on
//! servers of different versions compare.

use crate::Database;
use std::collections::BTreeMap;

/// Count and digest of one table, or the state of one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// Rows; of a sequence its last value.
    pub rows: i64,
    /// The sum of the rows' hashes as a decimal number; of a sequence whether it was called.
    pub digest: String,
}

/// See the file; the demo uses it too.
const DIGESTS: &str = include_str!("digests.sql");

pub(crate) fn of_database(database: &Database<'_>) -> BTreeMap<String, Digest> {
    let parse = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
        let text = |key: &str| value[key].as_str().expect("a text").to_owned();
        let rows = value["rows"].as_i64().expect("a number");
        (text("name"), Digest { rows, digest: text("digest") })
    };
    database.query(DIGESTS).lines().map(parse).collect()
}
