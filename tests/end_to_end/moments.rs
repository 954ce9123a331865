//! A database as it was at any commit: a backup, the changes after it, a moment.

use crate::repository;
use pgkeep_tests::{Database, Dedicated, Digest, Repository, Server};
use std::collections::BTreeMap;

/// Digests of tables; sequences are only never behind. What pgkeep installed does not count.
pub(crate) fn tables(database: &Database<'_>) -> BTreeMap<String, Digest> {
    let sequences = database.query(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S'",
    );
    let mut digests = database.digests();
    digests.retain(|name, _| {
        !name.starts_with("pgkeep.") && !sequences.lines().any(|sequence| sequence == name)
    });
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
fn changes_of_ten_times_the_memory_are_folded_share_by_share() {
    let server = dedicated_with(18, &[]);
    let source = server.database();
    source.query(
        "CREATE TABLE kept (id int PRIMARY KEY, n int, body text);
         ALTER TABLE kept ALTER body SET STORAGE EXTERNAL;
         CREATE TABLE bag (n int);
         INSERT INTO kept SELECT i, i, repeat('b' || i, 700) FROM generate_series(1, 6000) i;
         INSERT INTO bag SELECT i % 3000 FROM generate_series(1, 20000) i",
    );
    let repository = repository();
    let _ = repository.run(["setup", "-q", "--keyless", "full", "-d", &source.uri()]).ok();
    repository.backup(&source.uri(), &[]);
    for n in 0..4 {
        source.query(&format!(
            "UPDATE kept SET n = n + 1 WHERE id % 4 <> {n}; UPDATE bag SET n = n + 1;
             UPDATE kept SET id = id + 100000 WHERE id % 50 = {n}"
        ));
    }
    catch_up(&repository, &source);
    // Some 100,000 changes of 40 bytes each and more: far beyond what may be used.
    let copy = server.database();
    let restored = repository.restore(&copy.uri(), &["--to-latest", "--memory", "200KiB"]);
    assert_eq!(tables(&copy), tables(&source));
    let databases = &restored["databases"][0];
    assert_eq!(databases["rows"], 26000, "{restored}");
}

#[test]
fn a_time_a_transaction_and_a_mark_are_exact() {
    let server = dedicated_with(18, &[]);
    let source = server.database();
    source.query("CREATE TABLE t (n int PRIMARY KEY)");
    let repository = repository();
    let _ = repository.run(["setup", "-q", "-d", &source.uri()]).ok();
    repository.backup(&source.uri(), &[]);
    let mut commits = Vec::new();
    for n in 1..=5 {
        let xid =
            source.query(&format!("INSERT INTO t VALUES ({n}) RETURNING pg_current_xact_id()"));
        let time = source.query("SELECT clock_timestamp()").trim().to_owned();
        commits.push((xid.trim().to_owned(), time));
        if n == 3 {
            let _ = repository.run(["mark", "-q", "three", "-d", &source.uri()]).ok();
        }
    }
    catch_up(&repository, &source);
    let greatest = |moment: &[&str]| {
        let copy = server.database();
        repository.restore(&copy.uri(), moment);
        copy.query("SELECT coalesce(max(n), 0) FROM t").trim().parse::<u32>().unwrap()
    };
    for (n, (xid, time)) in (1..).zip(&commits) {
        assert_eq!(greatest(&["--to-xid", xid]), n);
        assert_eq!(greatest(&["--to-xid", xid, "--exclusive"]), n - 1);
        if n < 5 {
            assert_eq!(greatest(&["--to-time", time]), n);
        }
    }
    assert_eq!(greatest(&["--to-name", "three"]), 3);
    assert_eq!(greatest(&["--to-latest"]), 5);

    let copy = server.database();
    let outside = ["restore", "-d", &copy.uri(), "--to-time", "2001-01-01 00:00:00Z"];
    let run = repository.run(outside).code(1);
    assert!(run.stderr.contains("every moment can be had"), "{}", run.stderr);
    let run = repository.run(["restore", "-d", &copy.uri(), "--to-lsn", "FFFF/0"]).code(1);
    assert!(run.stderr.contains("does not have FFFF/0"), "{}", run.stderr);
}

#[test]
fn one_table_to_a_moment_reads_little_and_leaves_others_alone() {
    let server = dedicated_with(18, &[]);
    let source = server.database();
    source.query(
        "CREATE TABLE small (id int PRIMARY KEY, n int);
         CREATE TABLE large (id int PRIMARY KEY, body text);
         INSERT INTO small SELECT i, i FROM generate_series(1, 100) i;
         INSERT INTO large SELECT i, (SELECT string_agg(md5((i * 100 + j)::text), '')
           FROM generate_series(1, 100) j) FROM generate_series(1, 5000) i",
    );
    let repository = repository();
    let _ = repository.run(["setup", "-q", "-d", &source.uri()]).ok();
    repository.backup(&source.uri(), &[]);
    source.query("UPDATE small SET n = -n WHERE id % 2 = 0");
    let before = now(&source);
    source.query("DELETE FROM small");
    source.query("UPDATE large SET body = md5(body) || body");
    catch_up(&repository, &source);
    let large = tables(&source)["public.large"].clone();
    let part = ["--to-lsn", &before.lsn, "-t", "small", "--clean"];
    let restored = repository.restore(&source.uri(), &part);
    assert_eq!(tables(&source)["public.small"], before.tables["public.small"]);
    assert_eq!(tables(&source)["public.large"], large, "committed later, and stays");
    let read = restored["read_bytes"].as_u64().unwrap();
    let stored = repository.size_bytes();
    assert!(read < stored / 20, "{read} bytes read of {stored}");
}

#[test]
fn a_gap_is_told_and_no_moment_of_it_can_be_had() {
    let server = dedicated_with(18, &[]);
    let source = server.database();
    source.query("CREATE TABLE t (n int PRIMARY KEY)");
    let repository = repository();
    let _ = repository.run(["setup", "-q", "-d", &source.uri()]).ok();
    repository.backup(&source.uri(), &[]);
    source.query("INSERT INTO t VALUES (1)");
    let first = now(&source);
    catch_up(&repository, &source);
    // The server is a moment behind the streamer that has left.
    source.query(
        "DO 'BEGIN WHILE EXISTS (SELECT FROM pg_replication_slots WHERE active) LOOP
           PERFORM pg_sleep(0.01); END LOOP; END';
         SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots",
    );
    source.query("INSERT INTO t VALUES (2)");
    let lost = now(&source);
    let run = repository.run(["stream", "--until-caught-up", "-d", &source.uri()]).code(3);
    assert!(run.stderr.contains("is not in the stream; take a backup now"), "{}", run.stderr);
    source.query("INSERT INTO t VALUES (3)");
    catch_up(&repository, &source);

    let refused = |lsn: &str, why: &str| {
        let copy = server.database();
        let run = repository.run(["restore", "-d", &copy.uri(), "--to-lsn", lsn]).code(1);
        assert!(run.stderr.contains(why), "{}", run.stderr);
    };
    refused(&lost.lsn, "the change stream does not have");
    refused(&now(&source).lsn, "does not have");
    let copy = server.database();
    repository.restore(&copy.uri(), &["--to-lsn", &first.lsn]);
    assert_eq!(tables(&copy), first.tables);
    repository.backup(&source.uri(), &[]);
    source.query("INSERT INTO t VALUES (4)");
    catch_up(&repository, &source);
    let copy = server.database();
    repository.restore(&copy.uri(), &["--to-latest"]);
    assert_eq!(tables(&copy), tables(&source));
    let listed = repository.run(["list", "--json"]).ok().json();
    assert_eq!(listed["windows"].as_array().map(Vec::len), Some(2), "{listed}");
}

#[test]
fn an_application_never_fails_for_a_table_without_a_key_and_teardown_leaves_nothing() {
    let server = dedicated_with(18, &[]);
    let repository = repository();
    for keyless in ["full", "skip"] {
        let source = server.database();
        source.query(
            "CREATE TABLE keyed (n int PRIMARY KEY); CREATE TABLE keyless (n int);
                      INSERT INTO keyless VALUES (1), (2)",
        );
        let before = source.schema();
        let plan =
            repository.run(["setup", "--dry-run", "--keyless", keyless, "-d", &source.uri()]);
        assert!(plan.stdout_text().contains("CREATE PUBLICATION"), "{}", plan.stdout_text());
        assert_eq!(source.schema(), before, "a dry run changes nothing");
        let setup = repository.run(["setup", "--json", "--keyless", keyless, "-d", &source.uri()]);
        let code = if keyless == "full" { 0 } else { 3 };
        let setup = setup.code(code).json();
        let left_out = setup["left_out"].as_array().map(Vec::len);
        assert_eq!(left_out, Some(usize::from(keyless == "skip")), "{setup}");
        source.query("UPDATE keyless SET n = n + 1; DELETE FROM keyless WHERE n = 2");
        repository.backup(&source.uri(), &[]);
        source.query("UPDATE keyless SET n = 7; INSERT INTO keyed VALUES (1)");
        catch_up(&repository, &source);
        let copy = server.database();
        let restore = ["restore", "-d", &copy.uri(), "--to-latest", "--database", source.name()];
        let run = repository.run(restore).code(code);
        assert_eq!(run.stderr.contains("its changes are not in the stream"), keyless == "skip");
        let expected = if keyless == "full" { "7" } else { "3" };
        assert_eq!(copy.query("SELECT n FROM keyless").trim(), expected);
        let _ = repository.run(["teardown", "-q", "-d", &source.uri()]).ok();
        assert_eq!(source.schema(), before);
        assert_eq!(source.query("SELECT count(*) FROM pg_replication_slots").trim(), "0");
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

#[test]
fn a_sequence_that_was_set_and_gave_no_value_since_comes_back_so() {
    let server = dedicated_with(17, &[]);
    let source = server.database();
    source.query("CREATE SEQUENCE s; CREATE SEQUENCE fresh; SELECT nextval('s')");
    let repository = repository();
    let _ = repository.run(["setup", "-q", "-d", &source.uri()]).ok();
    repository.backup(&source.uri(), &[]);
    source.query("ALTER SEQUENCE s RESTART WITH 1000");
    catch_up(&repository, &source);
    let copy = server.database();
    repository.restore(&copy.uri(), &["--to-latest"]);
    assert_eq!(copy.query("SELECT nextval('s'), nextval('fresh')").trim(), "1000|1");
}
