//! Of chunks in which a few rows changed only the rows that are new are stored, where the backup before
//! can be read; what comes back is the table all the same.

use crate::moments::dedicated_with;
use crate::{repository, repository_in};
use pgkeep_tests::{Bucket, Database, Outcome, Repository, Server, every_major};
use std::path::PathBuf;

/// Two tables of several chunks each: one whose rows are stored in binary, one in text.
fn source(server: &Server) -> Database<'_> {
    let source = server.database();
    source.query(
        "CREATE TABLE orders (id int PRIMARY KEY, state text, note text);
         INSERT INTO orders SELECT n, 'new', md5(n::text) || md5((-n)::text)
             FROM generate_series(1, 60000) n;
         CREATE TABLE places (id int PRIMARY KEY, state text, at point, note text);
         INSERT INTO places SELECT n, 'new', point(n, n), md5(n::text) || md5((-n)::text)
             FROM generate_series(1, 40000) n;
         ALTER TABLE orders SET (autovacuum_enabled = off);
         ALTER TABLE places SET (autovacuum_enabled = off)",
    );
    source
}

/// Changes one row of a hundred, all over the tables.
fn change(source: &Database<'_>, which: u32) {
    for table in ["orders", "places"] {
        source.query(&format!(
            "UPDATE {table} SET state = 'changed {which}' WHERE id % 100 = {which};
             DELETE FROM {table} WHERE id % 1000 = {which} + 550"
        ));
    }
}

/// The bytes that a backup added.
fn added(repository: &Repository, source: &Database<'_>, arguments: &[&str]) -> u64 {
    let done = repository.backup(&source.uri(), arguments);
    done["added_bytes"].as_u64().expect("bytes that were added")
}

#[track_caller]
fn assert_restores(repository: &Repository, source: &Database<'_>) {
    let copy = source.server().database();
    repository.restore(&copy.uri(), &["-j", "2"]);
    source.assert_same_rows(&copy);
}

every_major!(rows_changed_all_over_a_table_are_all_that_is_stored);

fn rows_changed_all_over_a_table_are_all_that_is_stored(server: &Server) {
    let (source, repository) = (source(server), repository());
    let first = added(&repository, &source, &[]);
    for which in 0..3 {
        change(&source, which);
        let later = added(&repository, &source, &["-j", "2"]);
        assert!(later * 15 < first, "{later} bytes were added to {first}");
    }
    let _ = repository.run(["verify"]).ok();
    assert_restores(&repository, &source);
}

#[test]
fn a_backup_outlives_the_one_whose_rows_it_refers_to() {
    let server = Server::shared(18);
    let (source, near, far) = (source(server), repository(), repository());
    near.backup(&source.uri(), &[]);
    change(&source, 0);
    near.backup(&source.uri(), &[]);
    let _ = near.run(["forget", "-q", "--keep-last", "1"]).ok();
    near.prune(&[]);
    near.prune(&[]);
    let _ = near.run(["verify"]).ok();
    assert_restores(&near, &source);

    let mut copy = far.command();
    copy.args(["copy", "-q", "--from"]).arg(near.directory());
    let _ = Outcome::of(copy.arg("--from-identity").arg(near.identity())).ok();
    let _ = far.run(["verify"]).ok();
    assert_restores(&far, &source);

    // A backup after it, into the copy, too.
    change(&source, 1);
    far.backup(&source.uri(), &[]);
    assert_restores(&far, &source);
}

#[test]
fn rows_longer_than_a_chunk_stay_whole_among_rows_that_changed() {
    let (source, repository) = (source(Server::shared(18)), repository());
    // Two rows of ten megabytes each, in the middle of the table and next to each other.
    source.query(
        "CREATE TABLE long AS SELECT id, state, CASE WHEN id IN (30000, 30001)
             THEN repeat(md5(id::text), 312500) ELSE note END AS note FROM orders ORDER BY id",
    );
    repository.backup(&source.uri(), &["-j", "2"]);
    for which in 0..2 {
        change(&source, which);
        source.query(&format!("UPDATE long SET state = 'changed' WHERE id % 100 = {which}"));
        repository.backup(&source.uri(), &["-j", "2"]);
        let _ = repository.run(["verify"]).ok();
        assert_restores(&repository, &source);
    }
}

#[test]
fn each_database_of_a_server_is_compared_with_itself() {
    let server = dedicated_with(18, &[]);
    let (first, second, repository) = (source(&server), source(&server), repository());
    let all = ["--all-databases", "-j", "2"];
    let before = added(&repository, &first, &all);
    change(&first, 0);
    change(&second, 1);
    let later = added(&repository, &first, &all);
    assert!(later * 15 < before, "{later} bytes were added to {before}");
    for database in [&first, &second] {
        let copy = server.database();
        repository.restore(&copy.uri(), &["--database", database.name()]);
        database.assert_same_rows(&copy);
    }
}

#[test]
fn an_export_has_the_rows_that_are_left() {
    let (source, repository) = (source(Server::shared(18)), repository());
    repository.backup(&source.uri(), &[]);
    change(&source, 7);
    repository.backup(&source.uri(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("all.sql");
    let _ = repository.run(["export", "-q", "--output", script.to_str().unwrap()]).ok();
    let copy = source.server().database();
    let psql = Outcome::of(copy.psql_command().arg("-f").arg(&script));
    assert!(psql.status.success(), "{}", psql.stderr);
    source.assert_same_rows(&copy);
}

#[test]
fn without_the_identity_or_when_told_so_changed_chunks_are_stored_again() {
    let (source, repository) = (source(Server::shared(18)), repository());
    let first = added(&repository, &source, &[]);
    change(&source, 0);
    let uri = source.uri();
    let done = repository.run_without_identity(&["backup", "--json", "-d", &uri]).ok().json();
    assert!(done["added_bytes"].as_u64().unwrap() * 3 > first, "{done}");
    change(&source, 1);
    assert!(added(&repository, &source, &["--reuse-rows", "never"]) * 3 > first);
    let always = ["backup", "--reuse-rows", "always", "-d", &uri];
    let refused = repository.run_without_identity(&always).code(12);
    assert!(refused.stderr.contains("there is no identity for it"), "{}", refused.stderr);
    assert_restores(&repository, &source);
}

#[test]
fn a_bucket_is_read_for_it_only_when_told_so() {
    let bucket = Bucket::start();
    let (source, repository) = (source(Server::shared(18)), repository_in(&bucket));
    let first = added(&repository, &source, &[]);
    change(&source, 0);
    assert!(added(&repository, &source, &[]) * 3 > first);
    change(&source, 1);
    assert!(added(&repository, &source, &["--reuse-rows", "always"]) * 15 < first);
    assert_restores(&repository, &source);
}

#[test]
fn a_lost_chunk_costs_its_rows_and_no_others() {
    let (source, repository) = (source(Server::shared(18)), repository());
    repository.backup(&source.uri(), &[]);
    let before = repository.files();
    change(&source, 0);
    repository.backup(&source.uri(), &[]);
    // What the second backup stored: chunks of rows that are new, lists and entries.
    let packs = repository.directory().join("packs");
    let is_new = |path: &PathBuf| path.starts_with(&packs) && !before.contains(path);
    let new: Vec<PathBuf> = repository.files().into_iter().filter(is_new).collect();
    let [pack] = &new[..] else { panic!("{new:?}") };
    let mut bytes = std::fs::read(pack).unwrap();
    // In the payload of its first frame.
    bytes[64 + 96 + 50] ^= 1;
    std::fs::write(pack, bytes).unwrap();

    let verified = repository.run(["verify", "--json"]).json();
    let problems = verified["problems"].as_array().unwrap();
    let table = problems.iter().find_map(|it| it["table"].as_str()).expect("a table");
    let copy = source.server().database();
    let restored = repository.run(["restore", "--json", "-d", &copy.uri(), "--allow-damage"]);
    let missing = &restored.code(3).json()["databases"][0]["missing"][0];
    assert_eq!(missing["table"].as_str(), Some(table));
    let count = |database: &Database<'_>| -> u64 {
        let count = database.query(&format!("SELECT count(*) FROM {table}"));
        count.trim().parse().expect("a number")
    };
    assert_eq!(count(&copy) + missing["rows"].as_u64().unwrap(), count(&source));
    assert!(count(&copy) * 2 > count(&source), "{missing}");
}
