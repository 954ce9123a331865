//! Where and how the server keeps things: tablespaces and access methods come back, or stay
//! away, whichever is asked for and when.

use crate::repository;
use pgkeep_tests::{Database, Outcome, Server, assert_same_text, every_major};

every_major!(tablespaces_come_back_or_stay_away);

fn source(server: &Server) -> Database<'_> {
    // Several tests may make it at once.
    server.query(
        "SET allow_in_place_tablespaces = on;
         SELECT pg_advisory_lock(20260); SELECT format('CREATE TABLESPACE %I LOCATION ''''', name)
         FROM (VALUES ('fast \"space\"')) AS t (name)
         WHERE name NOT IN (SELECT spcname FROM pg_tablespace) \\gexec",
    );
    let source = server.database();
    source.query(
        r#"CREATE TABLE fast (id int PRIMARY KEY USING INDEX TABLESPACE "fast ""space""", v text)
             TABLESPACE "fast ""space""";
           CREATE INDEX fast_v ON fast (v) TABLESPACE "fast ""space""";
           CREATE TABLE slow (id int);
           CREATE TABLE parted (id int) PARTITION BY RANGE (id) TABLESPACE "fast ""space""";
           CREATE TABLE part PARTITION OF parted DEFAULT;
           CREATE INDEX parted_id ON parted (id) TABLESPACE "fast ""space""";
           CREATE MATERIALIZED VIEW seen TABLESPACE "fast ""space""" AS SELECT 1 AS one;
           INSERT INTO fast VALUES (1, 'one'); INSERT INTO parted VALUES (1)"#,
    );
    source
}

fn tablespaces_come_back_or_stay_away(server: &Server) {
    let source = source(server);
    let away = &["--no-tablespaces"][..];
    for (backup, restore) in [(&[][..], &[][..]), (&[], away), (away, &[])] {
        let (repository, copy) = (repository(), server.database());
        repository.backup(&source.uri(), backup);
        repository.restore(&copy.uri(), restore);
        assert_same_text(&source.dump(away), &copy.dump(away));
        let whole = backup.is_empty() && restore.is_empty();
        assert_eq!(source.dump(&[]) == copy.dump(&[]), whole, "{backup:?} {restore:?}");
        assert_eq!(copy.dump(&[]).contains("default_tablespace = \"fast"), whole);
    }
}

#[test]
fn script_puts_things_where_they_were() {
    let source = source(Server::shared(18));
    let (repository, copy) = (repository(), source.server().database());
    repository.backup(&source.uri(), &[]);
    copy.query(&repository.run(["export"]).ok().stdout_text());
    assert_same_text(&source.dump(&[]), &copy.dump(&[]));
}

#[test]
fn archive_puts_things_where_they_were_or_not() {
    let source = source(Server::shared(18));
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let archive = |name: &str, options: &[&str]| {
        let path = folder.path().join(name).to_str().unwrap().to_owned();
        let arguments = ["export", "--format", "directory", "-o", &path];
        let _ = repository.run(arguments.iter().chain(options)).ok();
        path
    };
    let away = "--no-tablespaces";
    let (whole, without) = (archive("whole", &[]), archive("without", &[away]));
    for (path, options) in [(&whole, &[][..]), (&whole, &[away]), (&without, &[])] {
        let copy = source.server().database();
        let mut pg_restore = source.server().client_program("pg_restore");
        let _ = Outcome::of(pg_restore.args(["-d", copy.name(), path]).args(options)).ok();
        assert_same_text(&source.dump(&[away]), &copy.dump(&[away]));
        let same = path == &whole && options.is_empty();
        assert_eq!(source.dump(&[]) == copy.dump(&[]), same, "{path} {options:?}");
    }
}

#[test]
fn access_methods_come_back_or_stay_away() {
    let source = Server::shared(18).database();
    source.query(
        "CREATE ACCESS METHOD \"heap 2\" TYPE TABLE HANDLER heap_tableam_handler;
         CREATE TABLE t (id int) USING \"heap 2\"; INSERT INTO t VALUES (1);
         CREATE TABLE plain (id int);
         CREATE TABLE parted (id int) PARTITION BY RANGE (id) USING \"heap 2\";
         CREATE TABLE part PARTITION OF parted DEFAULT;
         CREATE MATERIALIZED VIEW seen USING \"heap 2\" AS SELECT 1 AS one",
    );
    let away = &["--no-table-access-method"][..];
    for (backup, restore) in [(&[][..], &[][..]), (&[], away), (away, &[])] {
        let (repository, copy) = (repository(), source.server().database());
        repository.backup(&source.uri(), backup);
        repository.restore(&copy.uri(), restore);
        source.assert_same_rows(&copy);
        assert_same_text(&source.dump(away), &copy.dump(away));
        let whole = backup.is_empty() && restore.is_empty();
        assert_eq!(source.dump(&[]) == copy.dump(&[]), whole, "{backup:?} {restore:?}");
    }
    let (repository, copy) = (repository(), source.server().database());
    repository.backup(&source.uri(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive").to_str().unwrap().to_owned();
    let _ = repository.run(["export", "--format", "directory", "-o", &path]).ok();
    let mut pg_restore = source.server().client_program("pg_restore");
    let _ = Outcome::of(pg_restore.args(["-j2", "-d", copy.name(), &path])).ok();
    assert_same_text(&source.dump(&[]), &copy.dump(&[]));
}
