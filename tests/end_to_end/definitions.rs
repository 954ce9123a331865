//! Definitions that change between commits: each moment has those that it had, with the rows
//! that it had.

use crate::moments::{Known, catch_up, dedicated_with, tables};
use crate::repository;
use pgkeep_tests::{Database, Server};

/// The schema, but for what pgkeep installed.
pub(crate) fn schema(database: &Database<'_>) -> Vec<String> {
    let dump = database.dump(&["--schema-only", "-N", "pgkeep"]);
    // Statements of several lines are apart by an empty one.
    let statements = dump.split("\n\n").map(str::trim).filter(|it| !it.is_empty());
    let own = statements.filter(|it| !it.contains("EVENT TRIGGER pgkeep_"));
    own.filter(|it| !it.contains("Name: pgkeep_")).map(str::to_owned).collect()
}

pub(crate) fn assert_same_schema(found: &[String], expected: &[String], when: &str) {
    let lost = expected.iter().filter(|it| !found.contains(it)).collect::<Vec<_>>();
    let new = found.iter().filter(|it| !expected.contains(it)).collect::<Vec<_>>();
    assert!(lost.is_empty() && new.is_empty(), "{when}\nlost: {lost:#?}\nnew: {new:#?}");
    assert_eq!(found, expected, "{when}: another order");
}

const BEFORE: &str = "
    CREATE SCHEMA app;
    CREATE TYPE app.mood AS ENUM ('sad', 'ok');
    CREATE TABLE app.t (id int PRIMARY KEY, name text NOT NULL, doc text, gone int, mood app.mood);
    ALTER TABLE app.t ALTER doc SET STORAGE EXTERNAL;
    CREATE TABLE app.plain (a int, b text);
    CREATE TABLE app.parent (k int, v text, PRIMARY KEY (k)) PARTITION BY RANGE (k);
    CREATE TABLE app.p1 PARTITION OF app.parent FOR VALUES FROM (0) TO (100);
    INSERT INTO app.t SELECT i, 'n' || i, repeat('d' || i, 900), i, 'ok' FROM generate_series(1, 60) i;
    INSERT INTO app.plain SELECT i % 3, 'p' FROM generate_series(1, 20) i;
    INSERT INTO app.parent SELECT i, 'v' || i FROM generate_series(0, 99) i;
";

/// Each is one transaction.
const CHANGES: &[&str] = &[
    "ALTER TABLE app.t ADD COLUMN fast text DEFAULT E'it''s\\ta \\\\ default'",
    "UPDATE app.t SET name = name || '!' WHERE id % 5 = 0",
    "ALTER TABLE app.t ADD COLUMN empty int",
    "INSERT INTO app.t (id, name, empty) VALUES (100, 'new', 1)",
    "ALTER TABLE app.t DROP COLUMN gone",
    "UPDATE app.t SET id = id + 1000 WHERE id < 5",
    "ALTER TABLE app.t RENAME COLUMN name TO title",
    "UPDATE app.t SET title = 'renamed' WHERE id = 7",
    "BEGIN; INSERT INTO app.t (id, title) VALUES (101, 'x'); ALTER TABLE app.t ADD c1 int DEFAULT 7;
       INSERT INTO app.t (id, title, c1) VALUES (102, 'y', 8); ALTER TABLE app.t RENAME c1 TO c2;
       INSERT INTO app.t (id, title, c2) VALUES (103, 'z', 9); UPDATE app.t SET c2 = c2 + 1 WHERE id > 100;
       COMMIT",
    "BEGIN; UPDATE app.t SET c2 = 100 WHERE id = 8; ALTER TABLE app.t DROP c2; ALTER TABLE app.t ADD c2 int;
       UPDATE app.t SET c2 = 200 WHERE id = 9; COMMIT",
    "BEGIN; SAVEPOINT s; ALTER TABLE app.t ADD never int DEFAULT 3; UPDATE app.t SET never = 4; ROLLBACK TO s;
       UPDATE app.t SET c2 = 5 WHERE id = 11; COMMIT",
    "ALTER TABLE app.t ALTER COLUMN id TYPE bigint",
    "UPDATE app.t SET id = id + 10000 WHERE id > 1000",
    "ALTER TABLE app.t ALTER COLUMN title TYPE varchar(90)",
    "BEGIN; ALTER TABLE app.t ALTER c2 TYPE text USING 'c' || c2; INSERT INTO app.t (id, title, c2) VALUES (104, 't', 'cc');
       COMMIT",
    "DELETE FROM app.t WHERE id % 7 = 0",
    "CREATE TABLE app.fresh (id serial PRIMARY KEY, note text)",
    "INSERT INTO app.fresh (note) SELECT 'f' || i FROM generate_series(1, 10) i",
    "BEGIN; CREATE TABLE app.loaded (a int PRIMARY KEY, b text); INSERT INTO app.loaded SELECT i, 'l' FROM generate_series(1, 50) i; COMMIT",
    "UPDATE app.loaded SET b = b || a WHERE a < 9",
    "CREATE TABLE app.keyless (a int, b text)",
    "INSERT INTO app.keyless SELECT i % 2, NULL FROM generate_series(1, 9) i",
    "UPDATE app.keyless SET b = 'u' WHERE a = 1",
    "ALTER TABLE app.keyless ADD id serial",
    "DELETE FROM app.keyless WHERE id = 3",
    "ALTER TABLE app.keyless ADD PRIMARY KEY (id)",
    "UPDATE app.keyless SET b = 'by key' WHERE id = 4",
    "BEGIN; UPDATE app.keyless SET a = 9 WHERE id = 5; ALTER TABLE app.keyless DROP CONSTRAINT keyless_pkey;
       UPDATE app.keyless SET a = 10 WHERE id = 6; DELETE FROM app.keyless WHERE id = 5; COMMIT",
    "INSERT INTO app.keyless (a, id) VALUES (1, 7), (1, 7)",
    "ALTER TABLE app.plain DROP COLUMN b",
    "DELETE FROM app.plain WHERE ctid IN (SELECT ctid FROM app.plain WHERE a = 1 LIMIT 2)",
    "CREATE TABLE app.ctas AS SELECT id, title FROM app.t WHERE id < 30",
    "UPDATE app.ctas SET title = 'ctas' WHERE id < 10",
    "SELECT 1 AS one, 'x'::text AS two INTO app.into_table",
    "CREATE TABLE app.p2 PARTITION OF app.parent FOR VALUES FROM (100) TO (200)",
    "INSERT INTO app.parent SELECT i, 'w' FROM generate_series(100, 120) i",
    "ALTER TABLE app.parent DETACH PARTITION app.p1",
    "UPDATE app.p1 SET v = 'alone' WHERE k < 10",
    "ALTER TABLE app.parent ATTACH PARTITION app.p1 FOR VALUES FROM (0) TO (100)",
    "UPDATE app.parent SET k = k + 50 WHERE k BETWEEN 95 AND 99",
    "ALTER TABLE app.parent ADD COLUMN extra int DEFAULT 3",
    "INSERT INTO app.parent VALUES (7000 % 60 + 130, 'e', 5)",
    "ALTER TYPE app.mood ADD VALUE 'happy' AFTER 'sad'",
    "UPDATE app.t SET mood = 'happy' WHERE id % 2 = 0",
    "CREATE VIEW app.v AS SELECT id, title FROM app.t WHERE mood = 'happy'",
    "CREATE FUNCTION app.f(x int) RETURNS int LANGUAGE sql AS 'SELECT x + 1'",
    "CREATE INDEX i ON app.t (title)",
    "CREATE UNIQUE INDEX CONCURRENTLY j ON app.loaded (b, a)",
    "ALTER TABLE app.loaded REPLICA IDENTITY NOTHING",
    "UPDATE app.loaded SET b = 'nothing' WHERE a = 11",
    "BEGIN; TRUNCATE app.plain; INSERT INTO app.plain VALUES (77); ALTER TABLE app.plain ADD b date DEFAULT '2020-01-01'; COMMIT",
    "ALTER TABLE app.fresh RENAME TO fresher",
    "INSERT INTO app.fresher (note) VALUES ('after'), ('it')",
    "ALTER TABLE app.fresher SET SCHEMA public",
    "DELETE FROM public.fresher WHERE id < 3",
    "DROP TABLE app.ctas",
    "ALTER TABLE app.t ADD g int GENERATED ALWAYS AS (id::int * 2) STORED",
    "INSERT INTO app.t (id, title) VALUES (105, 'generated')",
    "CREATE SEQUENCE app.s START 50",
    "SELECT nextval('app.s'), nextval('app.s')",
    "DROP VIEW app.v; DROP FUNCTION app.f(int)",
    "DROP SCHEMA app CASCADE",
    "CREATE TABLE public.last (id int PRIMARY KEY); INSERT INTO public.last VALUES (1)",
];

/// A moment, its schema included.
struct Moment {
    known: Known,
    schema: Vec<String>,
}

fn look(source: &Database<'_>) -> Moment {
    Moment { known: crate::moments::now(source), schema: schema(source) }
}

fn every_commit_comes_back(source_major: u32, target_major: u32) {
    let server = dedicated_with(source_major, &[("logical_decoding_work_mem", "64kB")]);
    let source = server.database();
    source.query(BEFORE);
    let repository = repository();
    let _ = repository.run(["setup", "-q", "--keyless", "full", "-d", &source.uri()]).ok();
    repository.backup(&source.uri(), &[]);
    let mut moments = vec![look(&source)];
    for (number, change) in CHANGES.iter().enumerate() {
        source.query(change);
        moments.push(look(&source));
        if number % 9 == 8 {
            // The streamer begins again and again: it learns columns anew.
            catch_up(&repository, &source);
        }
    }
    catch_up(&repository, &source);
    let target = Server::shared(target_major);
    for (number, moment) in moments.iter().enumerate() {
        let copy = target.database();
        let after = number.checked_sub(1).map_or("the backup", |last| CHANGES[last]);
        let when = format!("moment {number} at {}, after {after}", moment.known.lsn);
        repository.restore(&copy.uri(), &["--to-lsn", &moment.known.lsn, "--no-analyze"]);
        assert_eq!(tables(&copy), moment.known.tables, "{when}");
        if source_major == target_major {
            assert_same_schema(&schema(&copy), &moment.schema, &when);
        }
    }
    let _ = repository.run(["verify", "-q"]).ok();
}

#[test]
fn every_change_of_definitions_comes_back_of_postgresql_14() {
    every_commit_comes_back(14, 14);
}

#[test]
fn every_change_of_definitions_comes_back_of_postgresql_18() {
    every_commit_comes_back(18, 18);
}

#[test]
fn every_change_of_definitions_of_postgresql_14_comes_back_on_18() {
    every_commit_comes_back(14, 18);
}
