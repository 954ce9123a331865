//! A database as it was at any commit: a backup, the changes after it, a moment.

use crate::repository;
use pgkeep_tests::{Database, Dedicated, Digest, Repository, Server};
use std::collections::BTreeMap;

/// Digests of tables; sequences are only never behind.
pub(crate) fn tables(database: &Database<'_>) -> BTreeMap<String, Digest> {
    let sequences = database.query(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S'",
    );
    let mut digests = database.digests();
    digests.retain(|name, _| !sequences.lines().any(|sequence| sequence == name));
    digests
}

/// A moment of the source: where it is in the WAL, and what the tables were.
pub(crate) struct Known {
    pub(crate) lsn: String,
    pub(crate) tables: BTreeMap<String, Digest>,
}

/// What the source is now.
pub(crate) fn now(source: &Database<'_>) -> Known {
    let tables = tables(source);
    Known { lsn: source.query("SELECT pg_current_wal_insert_lsn()").trim().to_owned(), tables }
}

pub(crate) fn catch_up(repository: &Repository, source: &Database<'_>) -> serde_json::Value {
    repository.run(["stream", "--json", "--until-caught-up", "-d", &source.uri()]).ok().json()
}

pub(crate) const TABLES: &str = "
    CREATE SCHEMA app;
    CREATE TYPE app.state AS ENUM ('new', 'done');
    CREATE TABLE app.jobs (id bigserial PRIMARY KEY, state app.state, note text, body text);
    CREATE TABLE app.pairs (a int, b text, c int, PRIMARY KEY (b, a));
    CREATE TABLE app.log (at int, line text);
    CREATE TABLE app.whole (id int, doc text);
    ALTER TABLE app.whole REPLICA IDENTITY FULL;
    CREATE TABLE app.unique_key (code text NOT NULL UNIQUE, n int);
    ALTER TABLE app.unique_key REPLICA IDENTITY USING INDEX unique_key_code_key;
    CREATE TABLE app.parts (day int, n int, PRIMARY KEY (day, n)) PARTITION BY RANGE (day);
    CREATE TABLE app.parts_1 PARTITION OF app.parts FOR VALUES FROM (0) TO (10);
    CREATE TABLE app.parts_2 PARTITION OF app.parts FOR VALUES FROM (10) TO (20);
    INSERT INTO app.jobs (state, note, body)
      SELECT 'new', 'n' || i, repeat(md5(i::text), 200) FROM generate_series(1, 200) i;
    ALTER TABLE app.jobs ALTER body SET STORAGE EXTERNAL;
    INSERT INTO app.jobs (state, note, body)
      SELECT 'new', 'n' || i, repeat(md5(i::text), 200) FROM generate_series(1, 200) i;
    INSERT INTO app.pairs SELECT i % 7, 'b' || i, i FROM generate_series(1, 100) i;
    INSERT INTO app.log SELECT i % 5, 'same' FROM generate_series(1, 50) i;
    INSERT INTO app.whole SELECT i, repeat('x' || i, 3000) FROM generate_series(1, 20) i;
    INSERT INTO app.unique_key SELECT 'c' || i, i FROM generate_series(1, 20) i;
    INSERT INTO app.parts SELECT i % 20, i FROM generate_series(1, 100) i;
";

/// Each is one transaction.
const CHANGES: &[&str] = &[
    "INSERT INTO app.jobs (state, note) VALUES ('new', E'tab\\t, newline\\n, backslash \\\\ and \\\\N')",
    "UPDATE app.jobs SET note = 'changed, body left alone' WHERE id % 3 = 0",
    "UPDATE app.jobs SET id = id + 100000 WHERE id % 10 = 1",
    "UPDATE app.jobs SET note = 'again' WHERE id > 100000",
    "DELETE FROM app.jobs WHERE id % 10 = 2",
    "BEGIN; SAVEPOINT s; DELETE FROM app.jobs; ROLLBACK TO s;
       UPDATE app.jobs SET body = 'short' WHERE id = 3; COMMIT",
    "UPDATE app.pairs SET b = b || 'x' WHERE a = 1",
    "UPDATE app.pairs SET c = -c",
    "INSERT INTO app.log SELECT 1, 'same' FROM generate_series(1, 7)",
    "DELETE FROM app.log WHERE ctid IN (SELECT ctid FROM app.log WHERE at = 1 LIMIT 3)",
    "UPDATE app.log SET line = 'other' WHERE at = 2",
    "UPDATE app.whole SET id = id + 1",
    "UPDATE app.unique_key SET code = 'd' || n WHERE n % 2 = 0",
    "UPDATE app.parts SET day = (day + 10) % 20 WHERE n % 4 = 0",
    "BEGIN; TRUNCATE app.log; INSERT INTO app.log VALUES (9, NULL), (9, ''), (9, '\\N'); COMMIT",
    "INSERT INTO app.jobs (id, note) VALUES (1, 'a key that was there before')",
    "UPDATE app.jobs SET id = 2 WHERE id = 1",
    "BEGIN; DELETE FROM app.jobs WHERE id = 2; INSERT INTO app.jobs (id) VALUES (2); COMMIT",
    "DELETE FROM app.jobs",
];

pub(crate) fn dedicated_with(major: u32, settings: &[(&str, &str)]) -> Server {
    Server::dedicated(major, &Dedicated { settings, ..Dedicated::default() })
}

fn every_commit_comes_back(major: u32) {
    let server = dedicated_with(major, &[]);
    let source = server.database();
    source.query(TABLES);
    let repository = repository();
    let setup =
        repository.run(["setup", "--json", "--keyless", "full", "-d", &source.uri()]).ok().json();
    assert!(setup["lsn"].is_string(), "{setup}");
    repository.backup(&source.uri(), &[]);
    let mut known = vec![now(&source)];
    for change in CHANGES {
        source.query(change);
        known.push(now(&source));
    }
    let streamed = catch_up(&repository, &source);
    assert!(streamed["transactions"].as_u64().unwrap() >= CHANGES.len() as u64, "{streamed}");
    for (number, moment) in known.iter().enumerate() {
        let copy = server.database();
        repository.restore(&copy.uri(), &["--to-lsn", &moment.lsn]);
        assert_eq!(tables(&copy), moment.tables, "after {number} changes, at {}", moment.lsn);
    }
}

#[test]
fn every_commit_comes_back_of_postgresql_14() {
    every_commit_comes_back(14);
}

#[test]
fn every_commit_comes_back_of_postgresql_18() {
    every_commit_comes_back(18);
}
