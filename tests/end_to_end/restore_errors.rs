//! A server that refuses something: all else is restored and what is not is reported, or the
//! first error ends the restore, or one transaction keeps all or nothing.

use crate::{platform, repository};
use pgkeep_tests::{Database, Repository, Server, every_major};

every_major!(
    refused_objects_are_reported_and_all_else_is_restored,
    one_transaction_restores_all_or_nothing,
    everything_of_every_kind_fits_one_transaction,
);

const SHOP: &str = "
    CREATE SCHEMA app; CREATE TABLE app.a (id int PRIMARY KEY); CREATE TABLE app.refused (id int);
    CREATE INDEX refused_id ON app.refused (id); CREATE VIEW app.on_refused AS TABLE app.refused;
    CREATE TABLE app.z (id int PRIMARY KEY, a int REFERENCES app.a);
    INSERT INTO app.a VALUES (1); INSERT INTO app.refused VALUES (1); INSERT INTO app.z VALUES (1, 1);";

/// Makes a database refuse to make `app.refused`.
fn refuse(database: &Database<'_>) {
    database.query(
        "CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$
         BEGIN
           IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
               WHERE object_identity = 'app.refused' AND command_tag = 'CREATE TABLE') THEN
             RAISE EXCEPTION 'not here' USING ERRCODE = 'PK001';
           END IF;
         END $$;
         CREATE EVENT TRIGGER refuse ON ddl_command_end EXECUTE FUNCTION public.refuse()",
    );
}

fn backup_of_shop(server: &Server) -> (Database<'_>, Repository) {
    let source = server.database();
    source.query(SHOP);
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    (source, repository)
}

fn refused_objects_are_reported_and_all_else_is_restored(server: &Server) {
    let (_source, repository) = backup_of_shop(server);
    let copy = server.database();
    refuse(&copy);
    let run = repository.run(["restore", "--json", "-d", &copy.uri()]).code(1);
    assert!(run.stderr.contains("\"kind\":\"server\""), "{}", run.stderr);
    let report = run.json();
    let failed = report["databases"][0]["failed"].as_array().unwrap();
    let found = |kind: &str| failed.iter().find(|one| one["kind"] == kind).cloned();
    let table = found("TABLE").unwrap();
    assert_eq!(table["name"], "app.refused");
    assert_eq!((&table["sqlstate"], &table["message"]), (&"PK001".into(), &"not here".into()));
    for skipped in ["TABLE DATA", "INDEX", "VIEW"] {
        let one = found(skipped).unwrap_or_else(|| panic!("{skipped} is not in {report}"));
        assert_eq!((&one["skipped"], &one["sqlstate"]), (&true.into(), &().into()));
        assert_eq!(one["message"], "stands on TABLE app.refused, which failed");
    }
    assert_eq!(report["databases"][0]["tables"], 2);
    assert_eq!(copy.query("SELECT count(*) FROM app.a JOIN app.z ON app.z.a = app.a.id"), "1\n");
    assert_eq!(copy.query("SELECT count(*) FROM pg_constraint WHERE contype = 'f'"), "1\n");
    // For people too, with the code of PostgreSQL.
    let copy = server.database();
    refuse(&copy);
    let run = repository.run(["restore", "-d", &copy.uri()]).code(1);
    assert!(run.stdout_text().contains("TABLE app.refused: not here [PK001]"), "{run:?}");
    assert!(run.stderr.contains("could not be restored"), "{}", run.stderr);
}

#[test]
fn rows_that_are_refused_leave_the_others_alone() {
    let server = Server::shared(18);
    let source = server.database();
    source.query(&format!(
        "CREATE FUNCTION only_here(int) RETURNS boolean LANGUAGE plpgsql STABLE AS
           $$ BEGIN RETURN current_database() = '{}'; END $$;
         CREATE TABLE picky (id int CHECK (only_here(id))); INSERT INTO picky VALUES (1);
         CREATE INDEX picky_id ON picky (id); CREATE TABLE plain (id int);
         INSERT INTO plain VALUES (1)",
        source.name()
    ));
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = server.database();
    let run = repository.run(["restore", "--json", "-d", &copy.uri()]).code(1);
    let report = run.json();
    let failed = report["databases"][0]["failed"].as_array().unwrap();
    assert_eq!(failed.len(), 1, "{report}");
    assert_eq!(
        (&failed[0]["kind"], &failed[0]["sqlstate"]),
        (&"TABLE DATA".into(), &"23514".into())
    );
    assert_eq!(copy.query("SELECT count(*) FROM plain"), "1\n");
    assert_eq!(copy.query("SELECT count(*) FROM pg_indexes WHERE indexname = 'picky_id'"), "1\n");
}

#[test]
fn first_error_ends_the_restore_where_that_is_asked_for() {
    let server = Server::shared(18);
    let (_source, repository) = backup_of_shop(server);
    let copy = server.database();
    refuse(&copy);
    let run = repository.run(["restore", "-e", "-d", &copy.uri()]).code(1);
    assert!(run.stderr.contains("not here"), "{}", run.stderr);
    assert_eq!(copy.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'app'"), "1\n");
}

#[test]
fn role_that_is_missing_is_told_by_what_names_it() {
    let source = Server::shared(17).database();
    source.query(
        "DO $$ BEGIN CREATE ROLE only_on_17; EXCEPTION WHEN OTHERS THEN NULL; END $$;
         CREATE TABLE t (id int); ALTER TABLE t ENABLE ROW LEVEL SECURITY;
         CREATE POLICY seen ON t TO only_on_17 USING (true); ALTER TABLE t OWNER TO only_on_17",
    );
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = Server::shared(18).database();
    let run = repository.run(["restore", "-d", &copy.uri()]).code(1);
    let said = run.stderr.clone() + &run.stdout_text();
    for told in ["OWNER TABLE public.t", "--no-owner", "POLICY public.seen", "create it first"] {
        assert!(said.contains(told), "{told} is not told: {said}");
    }
    assert!(!said.contains("--no-acl"), "{said}");
}

fn one_transaction_restores_all_or_nothing(server: &Server) {
    let source = platform(server, "0.01");
    source.query("SELECT lo_from_bytea(0, 'large'), lo_from_bytea(0, 'larger')");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = server.database();
    repository.restore(&copy.uri(), &["-1"]);
    source.assert_same_rows(&copy);
    source.assert_same_schema(&copy);
    // One error, and all is as before.
    let (shop, shops) = backup_of_shop(server);
    let target = server.database();
    shops.restore(&target.uri(), &[]);
    target.query("INSERT INTO app.a VALUES (2)");
    refuse(&target);
    let before = target.digests();
    let options = ["--single-transaction", "--clean", "--if-exists"];
    let run = shops.run(["restore", "-d", &target.uri()].iter().chain(&options)).code(1);
    assert!(run.stderr.contains("not here"), "{}", run.stderr);
    assert_eq!(target.digests(), before);
    target.query("DROP EVENT TRIGGER refuse");
    shops.restore(&target.uri(), &options);
    shop.assert_same_rows(&target);
}

fn everything_of_every_kind_fits_one_transaction(server: &Server) {
    let source = server.database();
    source.load_for_version("relations");
    source.load_for_version("objects");
    source.load("objects-rare.sql", &[]);
    source.load("objects-foreign.sql", &[]);
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = server.database();
    repository.restore(&copy.uri(), &["--single-transaction"]);
    source.assert_same_rows(&copy);
    source.assert_same_schema(&copy);
    repository.restore(&copy.uri(), &["--single-transaction", "--clean"]);
    source.assert_same_rows(&copy);
    source.assert_same_schema(&copy);
}

#[test]
fn one_transaction_has_one_connection() {
    let server = Server::shared(18);
    let (_source, repository) = backup_of_shop(server);
    let uri = server.uri("postgres");
    for options in [["-1", "-j4"], ["-1", "--create"], ["-1", "--all-databases"]] {
        let _ = repository.run(["restore", "-d", &uri].iter().chain(&options)).code(2);
    }
}
