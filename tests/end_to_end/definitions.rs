//! Definitions that change between commits: each moment has those that it had, with the rows
//! that it had.

use crate::moments::{Known, catch_up, dedicated_with, tables};
use crate::repository;
use pgkeep_tests::{Database, Repository, Server};

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
    "ALTER TABLE app.t ALTER g DROP EXPRESSION",
    "UPDATE app.t SET g = 5 WHERE id % 2 = 0",
    "ALTER TYPE app.mood RENAME VALUE 'ok' TO 'fine'",
    "UPDATE app.t SET title = 'moody' WHERE mood = 'fine'",
    "CREATE TYPE app.pair AS (x int, y text)",
    "CREATE TABLE app.pairs (id int PRIMARY KEY, p app.pair, ps app.pair[]);
       INSERT INTO app.pairs VALUES (1, '(1,a)', '{\"(2,b)\"}'), (2, NULL, '{}')",
    "ALTER TYPE app.pair ADD ATTRIBUTE z date",
    "UPDATE app.pairs SET p.z = '2020-02-02' WHERE id = 1",
    "CREATE SEQUENCE app.s START 50",
    "SELECT nextval('app.s'), nextval('app.s')",
    "DROP VIEW app.v; DROP FUNCTION app.f(int)",
    "DROP SCHEMA app CASCADE",
    "CREATE TABLE public.last (id int PRIMARY KEY); INSERT INTO public.last VALUES (1)",
];

/// A moment, its schema included.
pub(crate) struct Moment {
    pub(crate) known: Known,
    pub(crate) schema: Vec<String>,
}

pub(crate) fn look(source: &Database<'_>) -> Moment {
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

fn stream_of<'a>(server: &'a Server, tables: &str) -> (Database<'a>, Repository) {
    let source = server.database();
    source.query(tables);
    let repository = repository();
    let _ = repository.run(["setup", "-q", "--keyless", "full", "-d", &source.uri()]).ok();
    repository.backup(&source.uri(), &[]);
    (source, repository)
}

#[test]
fn tables_that_come_later_are_in_the_stream_and_no_statement_of_the_application_fails() {
    for keyless in ["full", "skip"] {
        let server = dedicated_with(18, &[]);
        let source = server.database();
        let repository = repository();
        let _ = repository.run(["setup", "-q", "--keyless", keyless, "-d", &source.uri()]).ok();
        repository.backup(&source.uri(), &[]);
        let changed = "SELECT count(*) FROM pg_publication_tables WHERE pubname = 'pgkeep'";
        source.query(
            "CREATE TABLE bare (n int); INSERT INTO bare VALUES (1), (2);
             UPDATE bare SET n = 3 WHERE n = 2; DELETE FROM bare WHERE n = 1;
             CREATE TABLE keyed (n int PRIMARY KEY, m int NOT NULL);
             INSERT INTO keyed VALUES (1, 1); UPDATE keyed SET n = 2;
             ALTER TABLE keyed DROP CONSTRAINT keyed_pkey; UPDATE keyed SET n = 3;
             CREATE UNIQUE INDEX by_m ON keyed (m);
             ALTER TABLE keyed REPLICA IDENTITY USING INDEX by_m; UPDATE keyed SET m = 4;
             DROP INDEX by_m; UPDATE keyed SET m = 5; DELETE FROM keyed WHERE n = 0;
             CREATE TABLE parent (n int, m int, PRIMARY KEY (n)) PARTITION BY LIST (n);
             CREATE TABLE leaf PARTITION OF parent FOR VALUES IN (1);
             INSERT INTO parent VALUES (1, 1); UPDATE leaf SET m = 2;
             ALTER TABLE parent DROP CONSTRAINT parent_pkey; UPDATE leaf SET m = 3;
             CREATE TABLE typed (t text PRIMARY KEY, n int); INSERT INTO typed VALUES ('a', 1);
             BEGIN; CREATE TABLE same (n int); INSERT INTO same VALUES (1); UPDATE same SET n = 2;
             COMMIT; UPDATE same SET n = n + 1",
        );
        let expected = if keyless == "full" { "5" } else { "1" };
        assert_eq!(source.query(changed).trim(), expected, "{keyless}");
        source.query("ALTER TABLE bare ADD id serial PRIMARY KEY; UPDATE bare SET n = 9");
        let identity = "SELECT relreplident FROM pg_class WHERE relname = 'bare'";
        assert_eq!(source.query(identity).trim(), "d", "a key makes the whole row needless");
        catch_up(&repository, &source);
        let copy = server.database();
        let run = repository.run(["restore", "-d", &copy.uri(), "--to-latest", "--no-analyze"]);
        let run = run.code(if keyless == "full" { 0 } else { 3 });
        if keyless == "full" {
            assert_eq!(tables(&copy), tables(&source));
        } else {
            assert!(run.stderr.contains("\"same\" is empty"), "{}", run.stderr);
        }
    }
}

/// Restores to a moment, or to the end; says whether its definitions are exact. They may not be
/// where two transactions changed the same object and neither saw the other, and then the user is
/// told.
pub(crate) fn is_exact(repository: &Repository, copy: &Database<'_>, moment: &[&str]) -> bool {
    let uri = copy.uri();
    let arguments = ["restore", "--json", "--no-progress", "--no-analyze", "-d", &uri];
    let run = repository.run(arguments.iter().chain(moment));
    let run = if run.status.success() { run.ok() } else { run.code(3) };
    let warnings = run.json()["warnings"].clone();
    let warnings = warnings.as_array().unwrap();
    let inexact = "definitions may not be exact: transactions";
    assert!(warnings.iter().all(|it| it.as_str().unwrap().starts_with(inexact)), "{warnings:?}");
    warnings.is_empty()
}

/// What a prepared transaction captured is as old as its PREPARE. Another that changed the same
/// object before its COMMIT PREPARED is not in it, however long ago the stream had that one, and
/// also where all definitions were read in between.
#[test]
fn changes_that_did_not_see_each_other_are_noticed_by_a_stream_that_begins_again() {
    let server = dedicated_with(18, &[]);
    let (source, repository) = stream_of(&server, "CREATE TABLE t (a int); CREATE TABLE u (a int)");
    let prepare = |name: &str, sql: &str| {
        source.query(&format!("BEGIN; {sql}; PREPARE TRANSACTION '{name}'"));
    };
    let commit = |name: &str| source.query(&format!("COMMIT PREPARED '{name}'"));
    let exact_at_the_end = |after: &str| {
        let copy = server.database();
        assert!(is_exact(&repository, &copy, &["--to-latest"]), "{after}");
        assert_same_schema(&schema(&copy), &schema(&source), after);
    };
    // A stream's first run reads all definitions; this is not about that.
    source.query("INSERT INTO t VALUES (1)");
    catch_up(&repository, &source);
    prepare("on t", "COMMENT ON TABLE t IS 'late'");
    prepare("on u", "COMMENT ON TABLE u IS 'late'");
    source.query("GRANT SELECT ON t, u TO PUBLIC");
    catch_up(&repository, &source);
    commit("on t");
    let overlapped = look(&source);
    catch_up(&repository, &source);
    exact_at_the_end("a change that began before the stream did");

    // By now the stream has read all definitions, with the GRANT and without the second comment.
    commit("on u");
    let straddled = look(&source);
    catch_up(&repository, &source);
    exact_at_the_end("a change that began before all definitions were read");

    for (moment, when) in [(overlapped, "overlapped"), (straddled, "straddled")] {
        let copy = server.database();
        if is_exact(&repository, &copy, &["--to-lsn", &moment.known.lsn]) {
            assert_same_schema(&schema(&copy), &moment.schema, when);
        }
    }
}

#[test]
fn a_large_table_that_is_rewritten_or_filled_is_copied_anew() {
    let server = dedicated_with(18, &[]);
    let (source, repository) = stream_of(
        &server,
        "CREATE TABLE small (n int PRIMARY KEY); INSERT INTO small VALUES (1);
         CREATE TABLE large (n int PRIMARY KEY, t text);
         INSERT INTO large SELECT i, repeat('x', 900) FROM generate_series(1, 20000) i",
    );
    source.query("INSERT INTO large VALUES (0, 'before')");
    let before = crate::moments::now(&source);
    source.query("ALTER TABLE large ALTER n TYPE bigint; INSERT INTO small VALUES (2)");
    source.query("CREATE TABLE filled AS SELECT * FROM large");
    let between = crate::moments::now(&source);
    source.query("INSERT INTO large VALUES (-1, 'before the copy')");
    let streamed = catch_up(&repository, &source);
    assert_eq!(streamed["copied_tables"], 2, "{streamed}");
    let remembered = "SELECT count(*) FROM pgkeep.rewritten";
    assert_eq!(source.query(remembered).trim(), "0");
    let restored = |arguments: &[&str]| {
        let copy = server.database();
        repository.restore(&copy.uri(), arguments);
        tables(&copy)
    };
    assert_eq!(restored(&["--to-latest"]), tables(&source));
    assert_eq!(restored(&["--to-lsn", &before.lsn]), before.tables);

    // Between the command and the copy nobody knows the rows.
    let copy = server.database();
    let restore = ["restore", "-d", &copy.uri(), "--to-lsn", &between.lsn];
    let run = repository.run(restore).code(1);
    assert!(run.stderr.contains("are not known at the moment"), "{}", run.stderr);
    let copy = server.database();
    let uri = copy.uri();
    let without = ["-T", "large", "-T", "filled", "--to-lsn", &between.lsn];
    // The publication lacks tables then.
    let _ = repository.run(["restore", "-q", "-d", &uri].iter().chain(&without)).code(3);
    assert_eq!(copy.query("SELECT count(*) FROM small").trim(), "2");

    source.query("DELETE FROM large WHERE n = 7; UPDATE filled SET t = 'after' WHERE n % 100 = 1");
    let later = crate::moments::now(&source);
    source.query("ALTER TABLE large ALTER n TYPE int");
    source.query("INSERT INTO large VALUES (-2, 'after the second')");
    assert_eq!(catch_up(&repository, &source)["copied_tables"], 1);
    assert_eq!(restored(&["--to-lsn", &later.lsn]), later.tables);
    assert_eq!(restored(&["--to-latest"]), tables(&source));

    // Copies are no backups.
    let listed = repository.run(["list", "--json"]).ok().json();
    let kinds = listed["backups"].as_array().expect("backups").iter();
    let kinds: Vec<_> = kinds.map(|backup| backup["kind"].as_str().expect("a kind")).collect();
    assert_eq!(kinds, ["logical", "copy", "copy"]);
    assert_eq!(restored(&[])["public.small"].rows, 1);
}

#[test]
fn rows_that_a_command_wrote_in_another_encoding_are_copied_anew() {
    let server = dedicated_with(18, &[]);
    server.query("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    let source = Database::adopt(&server, "latin");
    source
        .query("CREATE TABLE t (n int PRIMARY KEY, t text); INSERT INTO t VALUES (1, E'\\u00e9')");
    let repository = repository();
    let _ = repository.run(["setup", "-q", "-d", &source.uri()]).ok();
    repository.backup(&source.uri(), &[]);
    source.query("ALTER TABLE t ALTER n TYPE bigint");
    assert_eq!(catch_up(&repository, &source)["copied_tables"], 1);
    source.query("INSERT INTO t VALUES (2, E'\\u00fc')");
    catch_up(&repository, &source);
    let copy = server.database();
    repository.restore(&copy.uri(), &["--to-latest"]);
    assert_eq!(copy.query("SELECT string_agg(t, '' ORDER BY n) FROM t").trim(), "éü");
}

#[test]
fn what_others_write_into_the_wal_is_not_believed() {
    let server = dedicated_with(18, &[]);
    let (source, repository) = stream_of(&server, "CREATE TABLE t (n int PRIMARY KEY)");
    let oid = source.query("SELECT 't'::regclass::oid");
    let forged = format!("{{table,{},public,t,d,\"(1,n,23,-1,t)\"}}", oid.trim());
    source.query("INSERT INTO t VALUES (1), (2)");
    for prefix in ["pgkeep.ddl", "pgkeep.ddl.", "pgkeep.ddl.00000000-0000-0000-0000-000000000000"] {
        let text = forged.replace('"', "\\\"");
        source.query(&format!("SELECT pg_logical_emit_message(true, '{prefix}', E'{text}')"));
    }
    catch_up(&repository, &source);
    let copy = server.database();
    repository.restore(&copy.uri(), &["--to-latest"]);
    assert_eq!(copy.query("SELECT count(*) FROM t").trim(), "2");
}

#[test]
fn a_role_that_may_not_make_event_triggers_gets_the_definitions_of_backups() {
    let server = dedicated_with(18, &[]);
    let source = server.database();
    source.query(&format!(
        "CREATE ROLE plain LOGIN REPLICATION; GRANT CREATE ON DATABASE {} TO plain;
         GRANT ALL ON SCHEMA public TO plain; SET ROLE plain;
         CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t VALUES (1)",
        source.name()
    ));
    let repository = repository();
    let uri = source.uri_of("plain");
    let setup = repository.run(["setup", "-d", &uri]).code(3);
    assert!(setup.stderr.contains("may not create event triggers"), "{}", setup.stderr);
    let backup = || repository.run(["backup", "-q", "--no-globals", "-d", &uri]).ok();
    let _ = backup();
    source.query("INSERT INTO t VALUES (2)");
    let before = crate::moments::now(&source);
    source.query("SET ROLE plain; ALTER TABLE t ADD m int; INSERT INTO t VALUES (3, 3)");
    let stream = ["stream", "-q", "--until-caught-up", "-d", &uri];
    let _ = repository.run(stream).ok();
    let copy = server.database();
    repository.restore(&copy.uri(), &["--to-lsn", &before.lsn]);
    assert_eq!(tables(&copy), before.tables);
    let copy = server.database();
    let run = repository.run(["restore", "-d", &copy.uri(), "--to-latest"]).code(1);
    assert!(run.stderr.contains("could not read the changes of table public.t"), "{}", run.stderr);
    let _ = backup();
    source.query("UPDATE t SET m = 4");
    let _ = repository.run(stream).ok();
    let copy = server.database();
    repository.restore(&copy.uri(), &["--to-latest"]);
    assert_eq!(tables(&copy), tables(&source));
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
