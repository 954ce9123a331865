//! What is already in the repository is not stored again, measured by the files themselves.

use crate::{platform, repository};
use pgkeep_tests::{Server, every_major};

every_major!(unchanged_database_adds_little);

fn unchanged_database_adds_little(server: &Server) {
    let source = platform(server, "0.05");
    // What the server found out by itself in between would be a change.
    source.query(
        "DO $$ DECLARE t regclass; BEGIN
           FOR t IN SELECT oid FROM pg_class WHERE relkind IN ('r', 'm') AND oid >= 16384
             AND relpersistence <> 't' AND relnamespace <> 'pg_toast'::regnamespace
           LOOP EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', t); END LOOP;
         END $$; ANALYZE",
    );
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let first = repository.size_bytes();
    repository.backup(&source.uri(), &[]);
    let added = repository.size_bytes() - first;
    assert!(added < first / 20, "the second backup added {added} bytes to {first}");
}

#[test]
fn newest_hundredth_updated_adds_under_a_tenth() {
    let source = platform(Server::shared(18), "1");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let first = repository.size_bytes();
    source.query(
        "UPDATE transactions SET description = 'corrected ' || id
             WHERE id > (SELECT max(id) * 0.99 FROM transactions);
         UPDATE jobs SET state = 'done' WHERE id > (SELECT max(id) * 0.99 FROM jobs);",
    );
    repository.backup(&source.uri(), &[]);
    let added = repository.size_bytes() - first;
    assert!(added < first / 10, "the second backup added {added} bytes to {first}");
    let copy = source.server().database();
    repository.restore(&copy.uri(), &[]);
    source.assert_same_rows(&copy);
}

#[test]
fn older_backup_restores_what_was_then() {
    let source = platform(Server::shared(18), "0.01");
    let repository = repository();
    let first = repository.backup(&source.uri(), &["--tag", "when=before"]);
    let then = source.digests();
    // A restore refreshes materialized views, so they should be fresh where it is compared.
    source.query(
        "UPDATE transactions SET amount = 0; TRUNCATE jobs; DROP TABLE schedules;
         REFRESH MATERIALIZED VIEW monthly_totals; REFRESH MATERIALIZED VIEW yearly_totals",
    );
    repository.backup(&source.uri(), &["--tag", "when=after"]);
    let copy = source.server().database();
    let id = first["backup"].as_str().expect("the backup's id");
    repository.restore(&copy.uri(), &["--backup", id]);
    assert_eq!(copy.digests(), then);
    let newest = source.server().database();
    repository.restore(&newest.uri(), &["--backup", "latest"]);
    source.assert_same_rows(&newest);
}
