//! What to copy in which order: tables in ranges of blocks, largest first.

use crate::catalog::{Catalog, TableToCopy};
use crate::postgres::{identifier, literal, qualified};
use std::collections::VecDeque;

/// Blocks of one range: 128 MiB of heap. Fixed, so that tomorrow's ranges begin where
/// today's did and their chunks are the same.
const RANGE_BLOCKS: u64 = 16_384;
/// Bytes of a block, for estimates only.
const BLOCK_BYTES: u64 = 8192;

/// What is read with one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// Which table, by its place in [`Catalog::tables`].
    pub(super) table: usize,
    /// Which part of it, from 0.
    pub(super) part: usize,
    pub(super) statement: Statement,
    /// The table's quoted name; absent where rows come from a query alone.
    pub(super) lock: Option<String>,
    /// Bytes to expect.
    bytes: u64,
}

/// What asks for rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    /// A query, whose rows are to come in binary format.
    Select(String),
    /// `COPY … TO STDOUT` of text.
    Copy(String),
}

/// All work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) items: VecDeque<Item>,
    /// Number of parts of each table.
    pub(super) parts: Vec<usize>,
    /// Bytes to expect of each table.
    pub(super) bytes: Vec<u64>,
}

/// Plans the copying of all tables.
pub(super) fn plan(catalog: &Catalog) -> Plan {
    let mut items = Vec::new();
    let mut parts = Vec::new();
    for (number, table) in catalog.tables.iter().enumerate() {
        let before = items.len();
        items.extend(items_of(number, table, &catalog.database.encoding));
        parts.push(items.len() - before);
    }
    let mut bytes = vec![0; parts.len()];
    items.iter().for_each(|item| bytes[item.table] += item.bytes);
    // Largest table first, so that no worker is left alone with it at the end.
    items.sort_by_key(|item| (std::cmp::Reverse(bytes[item.table]), item.table, item.part));
    Plan { items: items.into(), parts, bytes }
}

/// Whether a table may have so many rows that chunks of them are compared with earlier ones.
pub(super) fn may_have_chunks(table: &TableToCopy) -> bool {
    table.rows.pages + table.rows.toast_pages > 8
}

fn items_of(number: usize, table: &TableToCopy, encoding: &str) -> Vec<Item> {
    let rows = &table.rows;
    let statement = |query: String| match rows.types {
        Some(_) => Statement::Select(query),
        // The database's own encoding: nothing is converted, so nothing can fail to be.
        None => {
            let encoding = literal(encoding);
            Statement::Copy(format!("COPY ({query}) TO STDOUT WITH (ENCODING {encoding})"))
        }
    };
    let bytes = (rows.pages + rows.toast_pages) * BLOCK_BYTES;
    let item = |part: u64, query: String, lock: Option<String>, bytes: u64| Item {
        table: number,
        part: usize::try_from(part).unwrap_or(usize::MAX),
        statement: statement(query),
        lock,
        bytes,
    };
    if let Some(query) = &rows.query {
        return vec![item(0, query.clone(), None, bytes)];
    }
    let name = qualified(&table.schema, &table.name);
    let ranges = if rows.is_heap { rows.pages.div_ceil(RANGE_BLOCKS).max(1) } else { 1 };
    (0..ranges)
        .map(|range| {
            let conditions = conditions(rows.filter.as_deref(), range, ranges);
            let query = query(&name, &rows.columns, &conditions);
            item(range, query, Some(name.clone()), bytes / ranges)
        })
        .collect()
}

/// The last range has no end: the table may have grown since it was measured, with rows
/// that this snapshot sees when they filled free space.
fn conditions(filter: Option<&str>, range: u64, ranges: u64) -> Vec<String> {
    let mut conditions: Vec<String> = filter.iter().map(|filter| format!("({filter})")).collect();
    let tid = |range: u64| format!("'({},0)'::pg_catalog.tid", range * RANGE_BLOCKS);
    if range > 0 {
        conditions.push(format!("ctid >= {}", tid(range)));
    }
    if range + 1 < ranges {
        conditions.push(format!("ctid < {}", tid(range + 1)));
    }
    conditions
}

/// Of a table alone: those that inherit from it have entries of their own.
fn query(name: &str, columns: &[String], conditions: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| identifier(column)).collect();
    let condition = conditions.join(" AND ");
    let filter = if condition.is_empty() { String::new() } else { format!(" WHERE {condition}") };
    format!("SELECT {} FROM ONLY {name}{filter}", columns.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_a_table_without_gap_or_overlap_and_the_last_has_no_end() {
        let all: Vec<_> = (0..3).map(|range| conditions(None, range, 3).join(" AND ")).collect();
        assert_eq!(
            all,
            [
                "ctid < '(16384,0)'::pg_catalog.tid",
                "ctid >= '(16384,0)'::pg_catalog.tid AND ctid < '(32768,0)'::pg_catalog.tid",
                "ctid >= '(32768,0)'::pg_catalog.tid",
            ]
        );
        assert_eq!(conditions(Some("a = 1"), 0, 1), ["(a = 1)"]);
    }

    #[test]
    fn a_table_without_columns_still_has_its_rows_copied() {
        assert_eq!(query("\"s\".\"t\"", &[], &[]), "SELECT  FROM ONLY \"s\".\"t\"");
    }
}
