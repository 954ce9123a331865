//! What is dropped before it is created anew, and in which order.

use crate::postgres::{literal, qualified};
use pgkeep_format::entry::{Entry, Kind};
use std::collections::BTreeSet;

/// SQL that drops what is `selected`, in the reverse of the order of creation, so that nothing is
/// dropped before what stands on it; each with the position of its entry. With `if_exists`, what
/// is not there is no error.
#[must_use]
pub fn drops(
    entries: &[Entry],
    selected: &BTreeSet<usize>,
    if_exists: bool,
) -> Vec<(usize, String)> {
    let drops = selected.iter().rev().filter_map(|position| {
        let sql = entries[*position].drop.as_deref()?;
        Some((*position, if if_exists { with_if_exists(sql) } else { sql.to_owned() }))
    });
    drops.chain(loose_sequences(entries, selected)).collect()
}

/// A sequence goes with the table that it belongs to, but a restore that was stopped may
/// have left it without its owner.
fn loose_sequences(entries: &[Entry], selected: &BTreeSet<usize>) -> Vec<(usize, String)> {
    let parts = selected.iter().rev().filter(|position| {
        let entry = &entries[**position];
        entry.kind == Kind::Sequence && entry.belongs_to.is_some() && entry.drop.is_none()
    });
    parts
        .map(|position| {
            let entry = &entries[*position];
            let schema = entry.schema.as_deref().unwrap_or_default();
            (*position, format!("DROP SEQUENCE IF EXISTS {};", qualified(schema, &entry.name)))
        })
        .collect()
}

/// Kinds of object of which `DROP` takes two words or more, as a drop begins with them.
const LONG_KINDS: &[&str] = &[
    "ACCESS METHOD",
    "EVENT TRIGGER",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "MATERIALIZED VIEW",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "PROCEDURAL LANGUAGE",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "USER MAPPING",
];

/// `DROP TABLE x` as `DROP TABLE IF EXISTS x`; `ALTER TABLE x DROP CONSTRAINT y` as
/// `ALTER TABLE IF EXISTS x DROP CONSTRAINT IF EXISTS y`.
fn with_if_exists(sql: &str) -> String {
    if let Some(rest) = sql.strip_prefix("DROP ") {
        let long = LONG_KINDS.iter().find(|kind| rest.starts_with(**kind)).map(|kind| kind.len());
        let kind_len = long.or_else(|| rest.find(' ')).unwrap_or(0);
        let (kind, name) = rest.split_at(kind_len);
        return format!("DROP {kind} IF EXISTS{name}");
    }
    if sql.starts_with("ALTER SUBSCRIPTION ") {
        // Several statements, of which only the last could say IF EXISTS.
        let body = format!("BEGIN {sql} EXCEPTION WHEN undefined_object THEN NULL; END");
        return format!("DO {};", literal(&body));
    }
    let Some(rest) = sql.strip_prefix("ALTER TABLE ") else { return sql.to_owned() };
    let (only, rest) = rest.strip_prefix("ONLY ").map_or(("", rest), |rest| ("ONLY ", rest));
    // The last such words: a table's name may hold the same ones.
    match rest.rsplit_once(" DROP CONSTRAINT ") {
        Some((table, constraint)) => {
            format!("ALTER TABLE IF EXISTS {only}{table} DROP CONSTRAINT IF EXISTS {constraint}")
        }
        None => sql.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgkeep_format::entry::Section;

    #[test]
    fn a_sequence_that_a_stopped_restore_left_alone_is_dropped_after_its_table() {
        let entry = |kind: Kind, name: &str, belongs_to, drop: Option<&str>| Entry {
            kind: kind.into(),
            section: Section::PreData,
            schema: Some("app".into()),
            name: name.into(),
            create: String::new(),
            drop: drop.map(str::to_owned),
            depends_on: Vec::new(),
            belongs_to,
            relation: None,
            data: None,
            owner: None,
            large_objects: None,
            storage: None,
            by_index: None,
        };
        let entries = [
            entry(Kind::Table, "jobs", None, Some("DROP TABLE \"app\".\"jobs\";")),
            entry(Kind::Sequence, "jobs_id_seq", Some(0), None),
        ];
        let all = BTreeSet::from([0, 1]);
        assert_eq!(
            drops(&entries, &all, false),
            [
                (0, "DROP TABLE \"app\".\"jobs\";".to_owned()),
                (1, "DROP SEQUENCE IF EXISTS \"app\".\"jobs_id_seq\";".to_owned()),
            ]
        );
    }

    #[test]
    fn drops_of_every_shape_take_if_exists() {
        for (sql, expected) in [
            ("DROP TABLE \"a\".\"b\";", "DROP TABLE IF EXISTS \"a\".\"b\";"),
            ("DROP MATERIALIZED VIEW x;", "DROP MATERIALIZED VIEW IF EXISTS x;"),
            ("DROP TRIGGER t ON x;", "DROP TRIGGER IF EXISTS t ON x;"),
            (
                "ALTER TABLE ONLY \"a\" DROP CONSTRAINT \"c\";",
                "ALTER TABLE IF EXISTS ONLY \"a\" DROP CONSTRAINT IF EXISTS \"c\";",
            ),
            (
                "ALTER TABLE \"a\" ALTER COLUMN b DROP DEFAULT;",
                "ALTER TABLE \"a\" ALTER COLUMN b DROP DEFAULT;",
            ),
        ] {
            assert_eq!(with_if_exists(sql), expected);
        }
    }
}
