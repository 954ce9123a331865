//! A backup of one major version restores into a newer one.
//!
//! Servers of different versions write the same view in different words, so the copy is
//! compared with what `pg_dump` and `psql` make of the source on the newer server.

use crate::{platform, repository};
use pgkeep_tests::{MAJORS, Server, every_major};

every_major!(platform_moves_to_the_newest, types_move_to_the_newest);

fn assert_moves(server: &Server, fixture: &str) {
    let newest = Server::shared(MAJORS[MAJORS.len() - 1]);
    // Roles are not part of a backup of a database, so the new server needs them first.
    let roles = newest.database();
    roles.load(fixture, &[("scale", "0")]);
    let source = server.database();
    source.load(fixture, &[("scale", "0.01")]);
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = newest.database();
    repository.restore(&copy.uri(), &[]);
    source.assert_same_rows(&copy);
    let judge = newest.database();
    judge.query(&source.dump(&["--schema-only"]));
    judge.assert_same_schema(&copy);
}

fn platform_moves_to_the_newest(server: &Server) {
    assert_moves(server, "platform.sql");
}

fn types_move_to_the_newest(server: &Server) {
    assert_moves(server, "types.sql");
}

#[test]
fn newer_backup_into_an_older_server_is_warned_of_or_works() {
    let source = platform(Server::shared(16), "0.005");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let older = Server::shared(14);
    let roles = platform(older, "0");
    drop(roles);
    let copy = older.database();
    let outcome = repository.run(["restore", "-d", &copy.uri()]);
    match outcome.status.code() {
        Some(0 | 3) => source.assert_same_rows(&copy),
        // A feature that the old server lacks: the error names what and where.
        Some(1) => assert!(outcome.stderr.contains("connectors_option"), "{}", outcome.stderr),
        _ => panic!("{outcome:?}"),
    }
}

/// In binary the older server would take it for a very long but finite one.
#[test]
fn an_infinite_interval_is_refused_by_a_server_that_has_none() {
    let source = Server::shared(18).database();
    source.query(
        "CREATE TABLE waits (i interval); INSERT INTO waits VALUES ('1 day'), ('infinity');
         CREATE TABLE others (i interval); INSERT INTO others VALUES ('2 days')",
    );
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = Server::shared(16).database();
    let outcome = repository.run(["restore", "-d", &copy.uri()]).code(1);
    let refused = "TABLE DATA public.waits: invalid input syntax for type interval";
    assert!(outcome.stderr.contains(refused), "{}", outcome.stderr);
    assert_eq!(copy.query("SELECT i FROM waits UNION ALL SELECT i FROM others").trim(), "2 days");
}
