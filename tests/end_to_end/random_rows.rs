//! Rows of every type with values that nobody thought of.

use crate::{assert_rows_come_back, platform};
use pgkeep_tests::{Database, Server};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::fmt::Write;
use std::io::Write as _;
use std::process::Stdio;

/// Databases that are made, backed up and restored.
const CASES: u32 = 8;

const COLUMNS: &[(&str, &str)] = &[
    ("i2", "int2"),
    ("i8", "int8"),
    ("f4", "float4"),
    ("f8", "float8"),
    ("n", "numeric"),
    ("t", "text"),
    ("c", "char(9)"),
    ("b", "bytea"),
    ("yes", "bool"),
    ("d", "date"),
    ("ts", "timestamptz"),
    ("iv", "interval"),
    ("j", "jsonb"),
    ("a", "text[]"),
    ("ip", "inet"),
    ("u", "uuid"),
    ("r", "int4range"),
    ("bits", "bit varying"),
    ("p", "point"),
];

/// A value as SQL.
type Value = BoxedStrategy<String>;

fn quoted(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Any text that a server takes: all of Unicode but NUL.
fn text() -> BoxedStrategy<String> {
    let odd = prop_oneof![
        Just("\\.\n".to_owned()),
        Just("\\N".to_owned()),
        Just("\t\r\n\u{b}\\".to_owned())
    ];
    prop_oneof![
        prop::collection::vec(any::<char>().prop_filter("NUL", |c| *c != '\0'), 0..40)
            .prop_map(String::from_iter),
        odd,
    ]
    .boxed()
}

fn float(edges: &'static [&'static str]) -> Value {
    let edges = prop::sample::select(edges).prop_map(|edge| format!("'{edge}'"));
    prop_oneof![any::<f32>().prop_map(|f| format!("'{f}'")), edges].boxed()
}

fn value(column: &str) -> Value {
    let special = &["NaN", "Infinity", "-Infinity", "0", "-0"][..];
    match column {
        "i2" => any::<i16>().prop_map(|i| format!("'{i}'")).boxed(),
        "i8" => any::<i64>().prop_map(|i| format!("'{i}'")).boxed(),
        "f4" | "f8" => float(special),
        "n" => prop_oneof![
            (any::<i128>(), 0u32..60).prop_map(|(i, e)| format!("'{i}e-{e}'")),
            prop::sample::select(special).prop_map(|edge| format!("'{edge}'")),
        ]
        .boxed(),
        "t" => text().prop_map(|t| quoted(&t)).boxed(),
        "c" => "[a-z' ]{0,9}".prop_map(|t| quoted(&t)).boxed(),
        "b" => prop::collection::vec(any::<u8>(), 0..3000)
            .prop_map(|bytes| {
                let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
                    write!(hex, "{byte:02x}").unwrap();
                    hex
                });
                format!("'\\x{hex}'")
            })
            .boxed(),
        "yes" => any::<bool>().prop_map(|b| b.to_string()).boxed(),
        "d" => prop_oneof![
            (-1_000_000i32..1_000_000).prop_map(|days| format!("date '2000-01-01' + {days}")),
            prop::sample::select(&["infinity", "-infinity"][..]).prop_map(|d| format!("'{d}'")),
        ]
        .boxed(),
        "ts" => (-100_000_000_000i64..100_000_000_000, 0..1_000_000)
            .prop_map(|(s, us)| format!("to_timestamp({s}) + interval '{us} us'"))
            .boxed(),
        "iv" => (any::<i16>(), any::<i16>(), any::<i32>())
            .prop_map(|(m, d, us)| format!("'{m} mons {d} days {us} us'"))
            .boxed(),
        "j" => text().prop_map(|t| format!("to_jsonb({}::text)", quoted(&t))).boxed(),
        "a" => prop::collection::vec(prop::option::of(text()), 0..4)
            .prop_map(|items| {
                let items = items.into_iter().map(|t| t.map_or("NULL".to_owned(), |t| quoted(&t)));
                format!("ARRAY[{}]::text[]", items.collect::<Vec<_>>().join(","))
            })
            .boxed(),
        "ip" => any::<std::net::IpAddr>().prop_map(|ip| format!("'{ip}'")).boxed(),
        "u" => any::<u128>().prop_map(|u| format!("'{u:032x}'")).boxed(),
        "r" => (any::<i16>(), any::<u8>())
            .prop_map(|(from, len)| format!("int4range({from}, {from} + {len})"))
            .boxed(),
        "bits" => "[01]{0,70}".prop_map(|bits| format!("B'{bits}'")).boxed(),
        "p" => (any::<i32>(), any::<i32>()).prop_map(|(x, y)| format!("'({x},{y})'")).boxed(),
        other => unreachable!("no values for column {other}"),
    }
}

fn row() -> BoxedStrategy<String> {
    let fields: Vec<_> =
        COLUMNS.iter().map(|(column, _)| prop::option::weighted(0.9, value(column))).collect();
    fields
        .prop_map(|fields| {
            let fields = fields.into_iter().map(|field| field.unwrap_or("NULL".to_owned()));
            format!("({})", fields.collect::<Vec<_>>().join(", "))
        })
        .boxed()
}

/// Runs SQL that is too long for an argument.
fn feed(database: &Database<'_>, sql: &str) {
    let mut psql = database.psql_command().stdin(Stdio::piped()).spawn().unwrap();
    psql.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    assert!(psql.wait().unwrap().success());
}

#[test]
fn random_rows_of_many_types_come_back() {
    let server = Server::shared(18);
    let mut runner =
        TestRunner::new(Config { cases: CASES, max_shrink_iters: 50, ..Config::default() });
    let rows = prop::collection::vec(row(), 0..200);
    let columns: Vec<_> = COLUMNS.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    runner
        .run(&rows, |rows| {
            let source = server.database();
            let mut sql = format!("CREATE TABLE random ({});", columns.join(", "));
            if !rows.is_empty() {
                write!(sql, "INSERT INTO random VALUES {};", rows.join(", ")).unwrap();
            }
            feed(&source, &sql);
            assert_eq!(source.query("SELECT count(*) FROM random").trim(), rows.len().to_string());
            // Without the types whose values are kept as text.
            source.query(
                "CREATE TABLE as_binary AS TABLE random;
                 ALTER TABLE as_binary DROP r, DROP p",
            );
            assert_rows_come_back(&source, &server.database());
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_platform_comes_back_at_random_scales() {
    let server = Server::shared(17);
    let mut runner = TestRunner::new(Config { cases: 3, max_shrink_iters: 0, ..Config::default() });
    runner
        .run(&(1u32..60), |thousandths| {
            let scale = format!("0.{thousandths:03}");
            assert_rows_come_back(&platform(server, &scale), &server.database());
            Ok(())
        })
        .unwrap();
}
