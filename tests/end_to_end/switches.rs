//! Switches that choose what is in a backup or a restore mean what they mean to `pg_dump`: what
//! comes back is what `psql` makes of a dump with the same switches.

use crate::repository;
use pgkeep_tests::{Database, Outcome, Server, assert_same_text};
use std::io::Write;
use std::process::Stdio;

/// Something for each switch to leave out, in `public`, which every database has.
const SOURCE: &str = "
    CREATE EXTENSION hstore; CREATE EXTENSION citext;
    CREATE TABLE parent (id int, at date) PARTITION BY RANGE (at);
    CREATE TABLE child (id int, at date);
    ALTER TABLE parent ATTACH PARTITION child FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    INSERT INTO parent SELECT i, '2026-01-01'::date + i FROM generate_series(1, 100) i;
    CREATE TABLE above (i int); CREATE TABLE below (j int) INHERITS (above);
    INSERT INTO below VALUES (1, 2);
    CREATE TABLE plain (id serial PRIMARY KEY, name text);
    INSERT INTO plain (name) SELECT 'row ' || i FROM generate_series(1, 1000) i;
    ALTER TABLE plain ENABLE ROW LEVEL SECURITY;
    CREATE POLICY everything ON plain USING (true);
    COMMENT ON TABLE plain IS 'a table'; COMMENT ON POLICY everything ON plain IS 'a policy';
    CREATE UNLOGGED TABLE fleeting (i int); INSERT INTO fleeting VALUES (1), (2);
    CREATE TABLE small (t text COMPRESSION pglz);
    CREATE FUNCTION total(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT a + b';
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TABLE triggered (id int);
    CREATE TRIGGER noted BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION note();
    CREATE INDEX by_name ON plain (name);
    CREATE PUBLICATION everything FOR TABLE plain;
    SELECT lo_from_bytea(4711, 'bytes'); COMMENT ON LARGE OBJECT 4711 IS 'large';";

/// Switches that a backup and a restore have in common.
const BOTH: &[&[&str]] = &[
    &["--table-and-children", "parent"],
    &["--table-and-children", "above", "-t", "plain"],
    &["--exclude-table-and-children", "above"],
    &["--exclude-table-data-and-children", "parent"],
    &["--exclude-table-data", "plain", "--exclude-table-data=be*"],
    &["--extension", "hstore"],
    &["--exclude-extension", "h*"],
    &["--no-comments"],
    &["--no-policies"],
    &["--no-publications"],
    &["--no-security-labels", "--no-subscriptions"],
    &["--no-data"],
    &["--schema-only", "--sequence-data"],
    &["--no-large-objects"],
    &["-t", "plain", "--large-objects", "--strict-names"],
    &["--section", "pre-data"],
    &["--section=pre-data", "--section=data"],
];

/// Switches that only a backup has.
const BACKUP: &[&[&str]] = &[&["--no-unlogged-table-data"], &["--no-toast-compression"]];

/// What psql makes of a dump by pg_dump with these switches.
fn dumped<'a>(source: &Database<'a>, switches: &[&str]) -> Database<'a> {
    let copy = source.server().database();
    let script = source.dump(switches);
    let mut psql = copy.psql_command();
    let mut child = psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{switches:?}");
    copy
}

fn compare(switches: &[&str], expected: &Database<'_>, copy: &Database<'_>) {
    println!("{switches:?}");
    assert_same_text(&expected.schema(), &copy.schema());
    // Nothing at all is the same, too.
    assert_eq!(expected.digests(), copy.digests(), "{switches:?}");
}

#[test]
fn switches_mean_what_they_mean_to_pg_dump() {
    let source = Server::shared(18).database();
    source.query(SOURCE);
    let whole = repository();
    whole.backup(&source.uri(), &["--no-globals"]);
    for (switches, of_restore) in
        BOTH.iter().map(|it| (it, true)).chain(BACKUP.iter().map(|it| (it, false)))
    {
        let expected = dumped(&source, switches);
        let part = repository();
        let arguments = [&["--no-globals"], *switches].concat();
        part.backup(&source.uri(), &arguments);
        let copy = source.server().database();
        part.restore(&copy.uri(), &[]);
        compare(switches, &expected, &copy);
        if of_restore {
            let copy = source.server().database();
            whole.restore(&copy.uri(), switches);
            compare(switches, &expected, &copy);
        }
    }
}

#[test]
fn filter_file_selects_as_pg_dump_reads_it() {
    let source = Server::shared(17).database();
    source.query(SOURCE);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("filter");
    let text = "# some of it\ninclude table_and_children parent # all partitions\n\
                include table plain\n\n  exclude table_data \"plain\"\ninclude extension citext\n";
    std::fs::write(&file, text).unwrap();
    let switches = ["--filter", file.to_str().unwrap()];
    let expected = dumped(&source, &switches);
    let (part, whole) = (repository(), repository());
    part.backup(&source.uri(), &switches);
    let copy = source.server().database();
    part.restore(&copy.uri(), &[]);
    compare(&switches, &expected, &copy);
    whole.backup(&source.uri(), &[]);
    let copy = source.server().database();
    whole.restore(&copy.uri(), &switches);
    compare(&switches, &expected, &copy);
    let shown = part.run(["show", "--json"]).ok().json();
    assert!(shown["selection"].to_string().contains("--table-and-children=parent"), "{shown}");

    std::fs::write(&file, "include table plain\nexclude function total\n").unwrap();
    let wrong = whole.run(["ls", "--filter", switches[1]]).code(2);
    assert!(wrong.stderr.contains("line 2"), "{}", wrong.stderr);
    let missing = whole.run(["ls", "--filter", "no such file"]).code(1);
    assert!(missing.stderr.contains("no such file"), "{}", missing.stderr);
}

#[test]
fn single_indexes_functions_and_triggers_are_restored_by_name() {
    let source = Server::shared(16).database();
    source.query(SOURCE);
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = source.server().database();
    repository.restore(&copy.uri(), &["-t", "plain", "-t", "triggered", "--schema-only"]);
    copy.query("DROP INDEX by_name; DROP TRIGGER noted ON triggered; DROP FUNCTION note()");
    repository.restore(&copy.uri(), &["-P", "note()"]);
    repository.restore(&copy.uri(), &["--trigger", "noted", "-I", "public.by_name"]);
    repository.restore(&copy.uri(), &["-P", "total(integer,integer)"]);
    let there = "SELECT (SELECT count(*) FROM pg_trigger WHERE tgname = 'noted'), \
                 to_regclass('by_name'), to_regprocedure('total(int, int)'), \
                 (SELECT count(*) FROM plain)";
    let expected = "1|by_name|total(integer,integer)|0\n";
    assert_eq!(copy.query(there), expected);
    let missing = repository.run(["restore", "-d", &copy.uri(), "-P", "total(text)"]).code(1);
    assert!(missing.stderr.contains("no function"), "{}", missing.stderr);
}

#[test]
fn rows_are_filtered_by_a_condition() {
    let source = Server::shared(15).database();
    source.query(SOURCE);
    let repository = repository();
    let filter = ["--where", "plain=id <= 10 -- the first", "--where", "public.child = id = 7"];
    repository.backup(&source.uri(), &filter);
    let copy = source.server().database();
    repository.restore(&copy.uri(), &[]);
    source.assert_same_schema(&copy);
    let counts = "SELECT (SELECT max(id) FROM plain), (SELECT count(*) FROM parent)";
    assert_eq!(copy.query(counts), "10|1\n");
    let shown = repository.run(["show"]).ok().stdout_text();
    assert!(shown.contains("--where=plain=id <= 10"), "{shown}");
    for (condition, code) in [("plain=nothing > 1", 1), ("no_such=true", 1), ("plain", 2)] {
        let uri = source.uri();
        let _ = repository.run(["backup", "-d", &uri, "--where", condition]).code(code);
    }
}

#[test]
fn rows_of_foreign_tables_are_backed_up_when_asked_for() {
    let server = Server::shared(18);
    let (far, source) = (server.database(), server.database());
    far.query("CREATE TABLE things (i int); INSERT INTO things SELECT generate_series(1, 50)");
    let (socket, port) = (server.socket_directory().display(), server.port());
    source.query(&format!(
        "CREATE EXTENSION postgres_fdw;
         CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw
             OPTIONS (host '{socket}', port '{port}', dbname '{}');
         CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'postgres');
         CREATE FOREIGN TABLE things (i int) SERVER far",
        far.name()
    ));
    let repository = repository();
    let plain = repository.backup(&source.uri(), &[]);
    assert_eq!(plain["rows"], 0);
    let with_rows = repository.backup(&source.uri(), &["--include-foreign-data", "f*"]);
    assert_eq!(with_rows["rows"], 50);
    // They go where the table is.
    far.query("TRUNCATE things");
    let copy = server.database();
    repository.restore(&copy.uri(), &[]);
    assert_eq!(far.query("SELECT count(*) FROM things").trim(), "50");
}

#[test]
fn snapshot_of_another_session_is_what_is_backed_up() {
    let source = Server::shared(18).database();
    source.query("CREATE TABLE t (i int); INSERT INTO t VALUES (1)");
    let mut holder = source.psql_command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let holder = holder.as_mut().unwrap();
    let mut input = holder.stdin.take().unwrap();
    input
        .write_all(b"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_export_snapshot();\n")
        .unwrap();
    let mut name = String::new();
    let mut output = std::io::BufReader::new(holder.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut name).unwrap();
    source.query("INSERT INTO t VALUES (2)");
    let repository = repository();
    let then = repository.backup(&source.uri(), &["--snapshot", name.trim()]);
    assert_eq!(then["rows"], 1);
    drop(input);
    holder.wait().unwrap();
    let gone = repository.run(["backup", "-d", &source.uri(), "--snapshot", name.trim()]).code(1);
    assert!(gone.stderr.contains("snapshot"), "{}", gone.stderr);
    let now = repository.backup(&source.uri(), &["--serializable-deferrable"]);
    assert_eq!(now["rows"], 2);
}

#[test]
fn row_security_shows_what_the_role_may_see_when_asked_for() {
    let source = Server::shared(18).database();
    source.query(
        "DO $$ BEGIN CREATE ROLE half_blind LOGIN;
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
         CREATE TABLE t (i int); INSERT INTO t SELECT generate_series(1, 10);
         ALTER TABLE t ENABLE ROW LEVEL SECURITY; GRANT SELECT ON t TO half_blind;
         CREATE POLICY half ON t USING (i <= 5)",
    );
    let repository = repository();
    let uri = source.uri_of("half_blind");
    let refused = repository.run(["backup", "-d", &uri]).code(1);
    assert!(refused.stderr.contains("row-level security"), "{}", refused.stderr);
    let run: Outcome = repository.run(["backup", "--json", "-d", &uri, "--enable-row-security"]);
    assert_eq!(run.ok().json()["rows"], 5);
}
