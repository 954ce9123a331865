//! A backup as SQL or CSV, for people and for other programs.

use crate::{platform, repository};
use pgkeep_tests::{Database, Outcome, Repository, Server, assert_same_text, every_major};
use std::path::Path;
use std::process::Stdio;

every_major!(
    exported_sql_makes_the_same_database,
    exported_sql_replaces_what_is_there,
    exported_inserts_make_the_same_rows,
    csv_is_what_the_server_writes,
);

/// A database with every type, every shape of relation and every other kind of object.
pub(crate) fn everything(server: &Server) -> Database<'_> {
    let database = server.database();
    database.load("types.sql", &[]);
    database.load_for_version("relations");
    database.load_for_version("objects");
    database.load("objects-rare.sql", &[]);
    database.load("objects-foreign.sql", &[]);
    database
}

/// Exports into a file.
fn export(repository: &Repository, file: &Path, options: &[&str]) {
    let file = file.to_str().unwrap();
    let run = repository.run(["export", "--output", file].iter().chain(options));
    let _ = run.ok();
}

/// Runs a script with `psql` and more arguments.
#[track_caller]
pub(crate) fn psql(database: &Database<'_>, script: &Path, arguments: &[&str]) {
    let mut psql = database.psql_command();
    let _ = Outcome::of(psql.args(arguments).arg("-f").arg(script).stdout(Stdio::null())).ok();
}

#[track_caller]
fn assert_same(source: &Database<'_>, copy: &Database<'_>) {
    source.assert_same_rows(copy);
    source.assert_same_schema(copy);
}

fn exported_sql_makes_the_same_database(server: &Server) {
    for source in [everything(server), platform(server, "0.005")] {
        let repository = repository();
        repository.backup(&source.uri(), &[]);
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script.sql");
        export(&repository, &script, &[]);
        for arguments in [&[][..], &["--single-transaction"]] {
            let copy = server.database();
            psql(&copy, &script, arguments);
            assert_same(&source, &copy);
        }
        let restored = server.database();
        repository.restore(&restored.uri(), &[]);
        assert_same(&source, &restored);
    }
}

fn exported_sql_replaces_what_is_there(server: &Server) {
    let source = platform(server, "0.002");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let (clean, gone) = (folder.path().join("clean.sql"), folder.path().join("gone.sql"));
    export(&repository, &clean, &["--clean"]);
    export(&repository, &gone, &["--clean", "--if-exists"]);
    let copy = server.database();
    psql(&copy, &gone, &[]);
    psql(&copy, &gone, &[]);
    copy.query("TRUNCATE clients CASCADE");
    psql(&copy, &clean, &[]);
    assert_same(&source, &copy);
}

fn exported_inserts_make_the_same_rows(server: &Server) {
    let source = everything(server);
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let ways: [&[&str]; 3] = [
        &["--inserts"],
        &["--column-inserts", "--on-conflict-do-nothing"],
        &["--rows-per-insert", "7"],
    ];
    for (at, options) in ways.into_iter().enumerate() {
        let script = folder.path().join(format!("{at}.sql"));
        export(&repository, &script, options);
        assert!(!std::fs::read_to_string(&script).unwrap().contains("\nCOPY "));
        let copy = server.database();
        psql(&copy, &script, &["--single-transaction"]);
        assert_same(&source, &copy);
    }
}

fn csv_is_what_the_server_writes(server: &Server) {
    let source = server.database();
    source.load("types.sql", &[]);
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("csv");
    export(&repository, Path::new(&format!("{}/", output.display())), &["--format", "csv"]);
    let tables = source.query(
        "SELECT format('%I.%I', schemaname, tablename) || ' ' || tablename FROM pg_tables
         WHERE schemaname = 'types' AND tablename ~ '^[a-z_]+$' ORDER BY tablename",
    );
    assert!(tables.lines().count() > 25, "{tables}");
    for line in tables.lines() {
        let (table, name) = line.split_once(' ').unwrap();
        let theirs = source.query(&format!(
            "SET timezone = 'UTC'; SET extra_float_digits = 3; SET intervalstyle = postgres;
             SET datestyle = ISO; COPY {table} TO STDOUT (FORMAT csv, HEADER)"
        ));
        let ours = std::fs::read(output.join(format!("types.{name}.csv"))).unwrap();
        assert_same_text(&String::from_utf8_lossy(&ours), &theirs);
    }
}

#[test]
fn every_type_comes_back_from_exported_sql() {
    let server = Server::shared(18);
    let source = server.database();
    source.load("types.sql", &[]);
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let script = repository.run(["export"]).ok();
    let copy = server.database();
    copy.query(&script.stdout_text());
    source.assert_same_rows(&copy);
}

#[test]
fn exported_sql_creates_the_database_by_whatever_name_it_has() {
    let server = Server::shared(18);
    let source = platform(server, "0.002");
    let name = format!("odd \"n'ame\" \\! {}", std::process::id());
    let odd = Database::adopt(server, &name);
    let quoted = name.replace('"', "\"\"");
    server.query(&format!("CREATE DATABASE \"{quoted}\" TEMPLATE {}", source.name()));
    server.query(&format!("ALTER DATABASE \"{quoted}\" SET work_mem = '5MB'"));
    let repository = repository();
    let uri = format!("postgresql://postgres@127.0.0.1:{}/", server.port());
    repository.backup(&format!("{uri}{}", percent(&name)), &[]);
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("create.sql");
    export(&repository, &script, &["--create", "--clean", "--if-exists"]);
    let elsewhere = server.database();
    for _ in 0..2 {
        psql(&elsewhere, &script, &[]);
        source.assert_same_rows(&odd);
        let setting = odd.query("SELECT current_setting('work_mem')");
        assert_eq!(setting, "5MB\n");
    }
    assert_eq!(elsewhere.query("SELECT count(*) FROM pg_class WHERE relname = 'jobs'"), "0\n");
}

#[test]
fn a_part_of_a_database_does_not_create_it() {
    let source = platform(Server::shared(18), "0.002");
    let repository = repository();
    repository.backup(&source.uri(), &["-t", "jobs"]);
    let refused = repository.run(["export", "--create"]).code(1);
    assert!(refused.stderr.contains("Leave out --create"), "{}", refused.stderr);
}

fn percent(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn a_restrict_key_makes_the_script_the_same_each_time() {
    let server = Server::shared(18);
    let source = server.database();
    source.query("CREATE TABLE t (id int)");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let script =
        |options: &[&str]| repository.run(["export"].iter().chain(options)).ok().stdout_text();
    assert_ne!(script(&[]), script(&[]));
    let fixed = script(&["--restrict-key", "k3y"]);
    assert_eq!(fixed, script(&["--restrict-key", "k3y"]));
    assert!(fixed.contains("\n\\restrict k3y\n") && fixed.ends_with("\n\\unrestrict k3y\n"));
    let _ = repository.run(["export", "--restrict-key", "a b"]).code(2);
}

#[test]
fn rows_alone_come_in_without_triggers_when_asked() {
    let server = Server::shared(18);
    let source = server.database();
    let schema = "
        CREATE TABLE b (id int PRIMARY KEY);
        CREATE TABLE a (id int PRIMARY KEY, b int REFERENCES b);
        CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN RAISE EXCEPTION ''fired''; END';";
    source.query(schema);
    source.query("INSERT INTO b VALUES (1); INSERT INTO a VALUES (1, 1)");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("rows.sql");
    export(&repository, &script, &["--data-only", "--disable-triggers"]);
    let copy = server.database();
    copy.query(schema);
    copy.query("CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION stop()");
    psql(&copy, &script, &[]);
    source.assert_same_rows(&copy);
    let refused = copy.query_error("INSERT INTO a VALUES (2, 1)");
    assert!(refused.contains("fired"), "{refused}");
    let _ = repository.run(["export", "--disable-triggers"]).code(2);
}

#[test]
fn inserts_find_columns_that_come_back_in_another_order() {
    let server = Server::shared(18);
    let source = server.database();
    source.query(
        "CREATE TABLE parent (a text); CREATE TABLE child (b text) INHERITS (parent);
         ALTER TABLE parent ADD COLUMN c text; INSERT INTO child (a, b, c) VALUES ('a', 'b', 'c')",
    );
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script.sql");
    export(&repository, &script, &["--inserts"]);
    let copy = server.database();
    psql(&copy, &script, &[]);
    assert_eq!(source.query("TABLE child"), "a|b|c\n");
    assert_eq!(copy.query("TABLE child"), "a|c|b\n");
    assert_eq!(copy.query("SELECT a, b, c FROM child"), "a|b|c\n");
}

#[test]
fn inserts_of_another_encoding_come_back_in_any() {
    let server = Server::shared(18);
    for (encoding, letters) in [("LATIN1", "éÿ"), ("EUC_JP", "日本語")] {
        let options = format!("ENCODING '{encoding}' LOCALE 'C'");
        let source = server.database_with(&options);
        source.query(&format!(
            "SET client_encoding = 'UTF8';
             CREATE TYPE \"{letters}\" AS ENUM ('{letters}', '\\');
             CREATE TABLE \"t{letters}\" (\"c{letters}\" text, v varchar(9), e \"{letters}\",
                 a text[], j json, n numeric, b bit(3), d date DEFAULT now());
             INSERT INTO \"t{letters}\" VALUES ('{letters}''\\', '{letters}', '{letters}',
                 '{{{letters},NULL}}', '\"{letters}\"', 1.50, '101'),
                 (NULL, 'x', '\\', NULL, '1', 'NaN', '000')"
        ));
        let repository = repository();
        repository.backup(&source.uri(), &[]);
        let folder = tempfile::tempdir().unwrap();
        for (at, rows) in ["--rows-per-insert=2", "--column-inserts"].into_iter().enumerate() {
            let script = folder.path().join(format!("{at}.sql"));
            export(&repository, &script, &[rows]);
            assert!(std::fs::read_to_string(&script).is_ok(), "the script is UTF-8");
            let (same, utf8) = (server.database_with(&options), server.database());
            for copy in [&same, &utf8] {
                psql(copy, &script, &[]);
                let rows = format!("SET client_encoding = 'UTF8'; TABLE \"t{letters}\"");
                assert_eq!(copy.query(&rows), source.query(&rows), "{encoding}");
            }
        }
    }
}

#[test]
fn exports_of_a_directory_hold_a_file_for_each_table() {
    let source = platform(Server::shared(17), "0.002");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    let arguments = ["export", "--json", "--format", "csv", "-n", "auth", "-o", output];
    let summary = repository.run(arguments).ok().json();
    assert_eq!((&summary["format"], &summary["rows"]), (&"csv".into(), &40.into()));
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(files, [folder.path().join("auth.users.csv")]);
    let lines = std::fs::read_to_string(&files[0]).unwrap().lines().count();
    assert_eq!(lines, 41, "40 users and a header");
    // A second export writes over nothing, also not over those that come before it.
    let again = repository.run(["export", "--json", "--format", "csv", "-o", output]).code(1);
    assert!(again.stderr.contains("\"kind\":\"already_exists\""), "{}", again.stderr);
    assert!(again.stderr.contains("Name another"), "{}", again.stderr);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn options_of_scripts_are_refused_for_other_formats() {
    let source = Server::shared(18).database();
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    for format in ["csv", "directory"] {
        for option in ["--clean", "--create", "--inserts", "--restrict-key=x"] {
            let _ =
                repository.run(["export", "--format", format, "-o", "/nowhere/x", option]).code(2);
        }
    }
    let _ = repository.run(["export", "--on-conflict-do-nothing"]).code(2);
    let _ = repository.run(["export", "--format", "directory"]).code(2);
}
