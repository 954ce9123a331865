//! PostgreSQL's own regression database, the widest real schema there is, comes back; and what
//! only that server can have: security labels, of which it has a provider.

use crate::repository;
use pgkeep_tests::{Database, Server};

/// Children whose parents were given columns later: those columns stand last in the child and,
/// once it is made anew, among its parent's. `pg_dump` does the same, and PostgreSQL's own test of
/// a dump of this database allows it. What is in the columns is compared by their names.
const COLUMNS_MOVE: [&str; 6] =
    ["b_star", "c_star", "d_star", "e_star", "f_star", "test_type_diff_c"];

/// A materialized view that the tests left older than what it selects from. A restore refreshes
/// it, as `pg_dump`'s does.
const STALE: &str = "mvtest_bb";

#[test]
fn regression_database_comes_back() {
    let server = Server::regression();
    let source = Database::adopt(&server, "regression");
    let copy = server.database();
    let repository = repository();
    repository.backup(&source.uri(), &["-j", "2"]);
    repository.restore(&copy.uri(), &["-j", "2"]);
    assert_comes_back(&source, &copy);
}

#[test]
fn exports_of_the_regression_database_come_back() {
    let server = Server::regression();
    let source = Database::adopt(&server, "regression");
    let repository = repository();
    repository.backup(&source.uri(), &["-j", "2"]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (script, archive) = (path("script.sql"), path("archive"));
    let _ = repository.run(["export", "-o", &script]).ok();
    let _ = repository.run(["export", "--format", "directory", "-o", &archive]).ok();
    let copy = server.database();
    crate::export::psql(&copy, script.as_ref(), &[]);
    assert_comes_back(&source, &copy);
    let copy = server.database();
    crate::export_archive::restore(&copy, archive.as_ref(), &["-j2"]);
    assert_comes_back(&source, &copy);
}

fn assert_comes_back(source: &Database<'_>, copy: &Database<'_>) {
    source.assert_same_schema(copy);
    source.query(&format!("REFRESH MATERIALIZED VIEW {STALE}"));
    let (mut before, mut after) = (source.digests(), copy.digests());
    for table in COLUMNS_MOVE {
        let name = format!("public.{table}");
        assert_ne!(before.remove(&name), after.remove(&name), "{table} is no exception any more");
        let rows = format!("SELECT to_jsonb(t) FROM ONLY {table} t ORDER BY to_jsonb(t)");
        assert_eq!(source.query(&rows), copy.query(&rows));
    }
    assert!(before.len() > 500, "{} tables are few", before.len());
    assert_eq!(before, after);
}

#[test]
fn security_labels_come_back() {
    let server = Server::regression();
    let (source, copy) = (server.database(), server.database());
    source.query(LABELS);
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    repository.restore(&copy.uri(), &[]);
    let labels = "SELECT objtype, objname, provider, label FROM pg_seclabels
                  WHERE classoid <> 'pg_authid'::regclass ORDER BY 1, 2";
    assert_eq!(source.query(labels).lines().count(), 14);
    assert_eq!(source.query(labels), copy.query(labels));
    source.assert_same_schema(&copy);
}

/// Every kind of object that can have a label; the database's own and roles' are not in it.
const LABELS: &str = "
    CREATE SCHEMA labelled;
    CREATE TABLE labelled.t (a int, \"odd \"\"column\" serial);
    CREATE VIEW labelled.v AS SELECT 1 AS one;
    CREATE MATERIALIZED VIEW labelled.m AS SELECT 1 AS one;
    CREATE FUNCTION labelled.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE PROCEDURE labelled.p(text) LANGUAGE sql AS '';
    CREATE AGGREGATE labelled.a(int) (SFUNC = int4pl, STYPE = int);
    CREATE TYPE labelled.e AS ENUM ('x');
    CREATE DOMAIN labelled.d AS int;
    CREATE FUNCTION labelled.fired() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
    CREATE EVENT TRIGGER labelled_trigger ON sql_drop EXECUTE FUNCTION labelled.fired();
    CREATE PUBLICATION labelled_publication;
    SELECT lo_create(910001);
    SECURITY LABEL ON SCHEMA labelled IS 'unclassified';
    SECURITY LABEL ON TABLE labelled.t IS 'classified';
    SECURITY LABEL ON COLUMN labelled.t.\"odd \"\"column\" IS 'secret';
    SECURITY LABEL ON SEQUENCE labelled.\"t_odd \"\"column_seq\" IS 'secret';
    SECURITY LABEL ON VIEW labelled.v IS 'classified';
    SECURITY LABEL ON MATERIALIZED VIEW labelled.m IS 'classified';
    SECURITY LABEL ON FUNCTION labelled.f(int) IS 'classified';
    SECURITY LABEL ON PROCEDURE labelled.p(text) IS 'classified';
    SECURITY LABEL ON AGGREGATE labelled.a(int) IS 'classified';
    SECURITY LABEL ON TYPE labelled.e IS 'classified';
    SECURITY LABEL ON DOMAIN labelled.d IS 'classified';
    SECURITY LABEL ON EVENT TRIGGER labelled_trigger IS 'classified';
    SECURITY LABEL ON PUBLICATION labelled_publication IS 'classified';
    SECURITY LABEL ON LARGE OBJECT 910001 IS 'classified'";
