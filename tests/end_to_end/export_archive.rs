//! A backup as a directory that `pg_restore` reads: what it restores, and what its options do.

use crate::export::{everything, psql};
use crate::{platform, repository};
use pgkeep_tests::{Database, Outcome, Repository, Server, assert_same_text, every_major};
use std::path::{Path, PathBuf};
use std::process::Command;

every_major!(
    pg_restore_makes_the_same_database,
    pg_restore_replaces_what_is_there,
    pg_restore_selects_tables_schemas_and_sections,
);

/// The archive of a database, and the folder that it is in.
fn archive(source: &Database<'_>, options: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    export(&repository, options)
}

fn export(repository: &Repository, options: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    let output = path.to_str().unwrap();
    let arguments = ["export", "--json", "--format", "directory", "-o", output];
    let summary = repository.run(arguments.iter().chain(options)).ok().json();
    assert_eq!(summary["format"], "directory");
    (folder, path)
}

fn pg_restore(server: &Server, path: &Path) -> Command {
    let mut command = server.client_program("pg_restore");
    command.arg(path).current_dir("/");
    command
}

/// Restores with `pg_restore`. Its version 18 sets `transaction_timeout` also where the
/// server does not know it, and goes on.
#[track_caller]
pub(crate) fn restore(copy: &Database<'_>, path: &Path, options: &[&str]) {
    let server = copy.server();
    // The regression database's server comes with older programs.
    let mut command = pg_restore(Server::shared(18), path);
    command.env("PGHOST", server.socket_directory()).env("PGPORT", server.port().to_string());
    let run = Outcome::of(command.args(["-d", copy.name()]).args(options));
    let errors = run.stderr.lines().filter(|line| line.contains("error:"));
    let others = errors.filter(|line| !line.contains("\"transaction_timeout\""));
    let others: Vec<_> = others.collect();
    assert_eq!(others, Vec::<&str>::new(), "{}", run.stderr);
    if server.major() >= 17 {
        assert_eq!(run.stderr, "");
        let _ = run.ok();
    }
}

#[track_caller]
fn assert_same(source: &Database<'_>, copy: &Database<'_>) {
    source.assert_same_rows(copy);
    source.assert_same_schema(copy);
}

/// `pg_restore -j` works side by side on what depends on different tables: to alter a root while
/// an index of a partition is built, each would wait for the other.
#[test]
fn what_alters_a_root_depends_on_all_tables_below() {
    let server = Server::shared(18);
    let source = server.database();
    source.query(
        "CREATE TABLE root (id int NOT NULL) PARTITION BY RANGE (id);
         CREATE TABLE middle PARTITION OF root DEFAULT PARTITION BY RANGE (id);
         CREATE TABLE leaf PARTITION OF middle DEFAULT;
         CREATE INDEX ON leaf (id);
         ALTER TABLE root ADD CONSTRAINT plausible CHECK (id > 0) NOT VALID",
    );
    let (_folder, path) = archive(&source, &[]);
    let listed = Outcome::of(pg_restore(server, &path).args(["-l", "-v"])).ok().stdout_text();
    let id = |what: &str| {
        let line = listed.lines().find(|line| line.contains(what)).expect(what);
        line.split(';').next().unwrap().to_owned()
    };
    let mut lines =
        listed.lines().skip_while(|line| !line.contains(" CONSTRAINT public plausible "));
    let depends = lines.find(|line| line.contains("depends on:")).unwrap();
    for table in ["root", "middle", "leaf"] {
        let id = id(&format!(" TABLE public {table} "));
        assert!(depends.split(' ').any(|known| known == id), "{table} {id}: {depends}");
    }
}

fn pg_restore_makes_the_same_database(server: &Server) {
    for source in [everything(server), platform(server, "0.005")] {
        let (_folder, path) = archive(&source, &[]);
        for jobs in ["-j1", "-j3"] {
            let copy = server.database();
            restore(&copy, &path, &[jobs]);
            assert_same(&source, &copy);
        }
        // The script that it makes of the archive is good too.
        let script = path.join("script.sql");
        let _ = Outcome::of(pg_restore(server, &path).arg("-f").arg(&script)).ok();
        if server.major() >= 17 {
            let copy = server.database();
            psql(&copy, &script, &[]);
            assert_same(&source, &copy);
        }
    }
}

fn pg_restore_replaces_what_is_there(server: &Server) {
    for source in [everything(server), platform(server, "0.002")] {
        let (_folder, path) = archive(&source, &[]);
        let copy = server.database();
        restore(&copy, &path, &[]);
        restore(&copy, &path, &["--clean", "--if-exists", "-j2"]);
        assert_same(&source, &copy);
        restore(&copy, &path, &["--clean", "--if-exists"]);
        assert_same(&source, &copy);
    }
}

fn pg_restore_selects_tables_schemas_and_sections(server: &Server) {
    let source = platform(server, "0.002");
    let (_folder, path) = archive(&source, &[]);

    let copy = server.database();
    copy.query("CREATE SCHEMA auth; CREATE DOMAIN public.email_address AS text");
    restore(&copy, &path, &["-n", "auth", "-t", "users"]);
    assert_eq!(copy.query("SELECT count(*) FROM auth.users"), "40\n");
    let others = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(copy.query(others), "0\n");

    // Definitions, then rows, then the rest; by sections and by what they are.
    let ways: [&[&[&str]]; 2] = [
        &[&["--section=pre-data"], &["--section=data", "-j2"], &["--section=post-data", "-j2"]],
        &[&["--schema-only"], &["--data-only"]],
    ];
    for way in ways {
        let copy = server.database();
        for options in way {
            restore(&copy, &path, options);
        }
        source.assert_same_schema(&copy);
        if way.len() == 3 {
            source.assert_same_rows(&copy);
        }
    }
}

#[test]
fn pg_restore_lists_what_is_there_and_restores_by_the_list() {
    let source = platform(Server::shared(18), "0.002");
    let (_folder, path) = archive(&source, &[]);
    let server = source.server();
    let list = Outcome::of(pg_restore(server, &path).arg("-l")).ok().stdout_text();
    for line in [
        "Dumped by pg_dump version: pgkeep ",
        "TABLE public jobs ",
        "TABLE DATA public jobs ",
        "FK CONSTRAINT public ",
        "TABLE auth users app_owner",
        "ACL public TABLE ",
    ] {
        assert!(list.contains(line), "{line} is not in:\n{list}");
    }
    assert!(!list.contains(" OWNER "), "{list}");
    let wanted = list.lines().filter(|line| !line.contains(" FK CONSTRAINT "));
    let file = path.join("list");
    std::fs::write(&file, wanted.collect::<Vec<_>>().join("\n")).unwrap();
    let copy = server.database();
    restore(&copy, &path, &["-L", file.to_str().unwrap()]);
    source.assert_same_rows(&copy);
    let foreign_keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f'";
    assert_ne!(source.query(foreign_keys), "0\n");
    assert_eq!(copy.query(foreign_keys), "0\n");
}

#[test]
fn one_table_comes_with_its_rows() {
    let server = Server::shared(18);
    let source = server.database();
    source.query(
        "CREATE TABLE one (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
         CREATE TABLE other (id int); INSERT INTO one (v) SELECT 'v' FROM generate_series(1, 7);
         COMMENT ON TABLE one IS 'one'; GRANT SELECT ON one TO PUBLIC",
    );
    let (_folder, path) = archive(&source, &[]);
    let copy = server.database();
    restore(&copy, &path, &["-t", "one"]);
    assert_eq!(copy.query("SELECT count(*), obj_description('one'::regclass) FROM one"), "7|one\n");
    assert_eq!(copy.query("SELECT to_regclass('other') IS NULL"), "t\n");
    let granted = copy.query("SELECT relacl IS NOT NULL FROM pg_class WHERE relname = 'one'");
    assert_eq!(granted, "t\n");
}

#[test]
fn owners_and_grants_are_restored_or_left_out_as_asked() {
    let server = Server::shared(18);
    let source = everything(server);
    let (_folder, path) = archive(&source, &[]);
    let options = ["--no-owner", "--no-acl", "--schema-only"];
    let copy = server.database();
    restore(&copy, &path, &["--no-owner", "--no-acl"]);
    assert_same_text(&source.dump(&options), &copy.dump(&options));
    let others = "SELECT count(*) FROM pg_class WHERE relowner <> 10";
    assert_ne!(source.query(others), "0\n");
    assert_eq!(copy.query(others), "0\n");
    // Objects are made by their owners instead of given to them.
    let copy = server.database();
    copy.query("GRANT CREATE ON SCHEMA public TO PUBLIC");
    let script = path.join("script.sql");
    let as_owners = ["--use-set-session-authorization", "-f"];
    let _ = Outcome::of(pg_restore(server, &path).args(as_owners).arg(&script)).ok();
    let script = std::fs::read_to_string(script).unwrap();
    assert!(script.contains("SET SESSION AUTHORIZATION 'keeper';"));
    // The schema is there already, and these functions go with the types that they are parts
    // of, so that pg_restore has no name for them.
    let parts = ["base_", "canonical", "pairs_", "wide_"];
    let parts = parts.map(|name| format!("ALTER FUNCTION \"app\".\"{name}"));
    let apart = [&["ALTER SCHEMA public ".to_owned()][..], &parts].concat();
    let given = script.lines().filter(|line| line.contains(" OWNER TO "));
    let given = given.filter(|line| !apart.iter().any(|apart| line.starts_with(apart.as_str())));
    assert_eq!(given.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn pg_restore_creates_the_database() {
    let server = Server::shared(18);
    let source = server.database();
    source.query(&format!(
        "CREATE TABLE t (id int); INSERT INTO t VALUES (1);
         ALTER DATABASE {0} SET work_mem = '5MB'; COMMENT ON DATABASE {0} IS 'made anew'",
        source.name()
    ));
    let (_folder, path) = archive(&source, &[]);
    source.query("TRUNCATE t");
    let elsewhere = server.database();
    restore(&elsewhere, &path, &["--create", "--clean", "--if-exists"]);
    assert_eq!(source.query("SELECT count(*), current_setting('work_mem') FROM t"), "1|5MB\n");
    let comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database
                   WHERE datname = current_database()";
    assert_eq!(source.query(comment), "made anew\n");
}

#[test]
fn rows_of_any_encoding_come_back_from_an_archive() {
    let server = Server::shared(18);
    let options = "ENCODING 'LATIN1' LOCALE 'C'";
    let source = server.database_with(options);
    source.query(
        "SET client_encoding = 'UTF8'; CREATE TABLE \"é\" (v text DEFAULT 'ü');
                  INSERT INTO \"é\" VALUES ('ÿ'), (NULL); COMMENT ON TABLE \"é\" IS 'ß'",
    );
    let (_folder, path) = archive(&source, &[]);
    let copy = server.database_with(options);
    restore(&copy, &path, &["-j2"]);
    assert_same(&source, &copy);
}

#[test]
fn an_archive_is_a_new_directory_and_gone_after_a_failure() {
    let server = Server::shared(18);
    let source = server.database();
    source.query("CREATE TABLE t AS SELECT 1 AS id");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    let arguments = ["export", "--json", "--format", "directory", "-o", path.to_str().unwrap()];
    std::fs::create_dir(&path).unwrap();
    let refused = repository.run(arguments).code(1);
    assert!(refused.stderr.contains("\"kind\":\"already_exists\""), "{}", refused.stderr);
    std::fs::remove_dir(&path).unwrap();
    for pack in repository.files().iter().filter(|path| path.to_string_lossy().contains("packs")) {
        let mut bytes = std::fs::read(pack).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(pack, bytes).unwrap();
    }
    let _ = repository.run(arguments).code(1);
    assert!(!path.exists());
}
