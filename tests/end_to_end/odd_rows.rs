//! Rows and values of unusual size.

use crate::{assert_rows_come_back, repository};
use pgkeep_tests::{Database, Server};

#[test]
fn row_of_three_hundred_megabytes_comes_back() {
    let server = Server::shared(18);
    let source = server.database();
    source.query(
        "CREATE TABLE huge (id int, v text); ALTER TABLE huge ALTER v SET STORAGE EXTERNAL;
         INSERT INTO huge VALUES (1, 'before');
         INSERT INTO huge SELECT 2, string_agg(md5(i::text), '') || repeat('0123456789', 29000000)
             FROM generate_series(1, 300000) i;
         INSERT INTO huge VALUES (3, 'after')",
    );
    let size = source.query("SELECT octet_length(v) FROM huge WHERE id = 2");
    assert!(size.trim().parse::<u64>().unwrap() >= 299_000_000);
    assert_huge_comes_back(&source);
}

/// Bytes that are longer than a line of text may be.
#[test]
fn bytea_of_560_megabytes_comes_back() {
    let source = Server::shared(18).database();
    source.query(
        "CREATE TABLE huge (id int, v bytea); ALTER TABLE huge ALTER v SET STORAGE EXTERNAL;
         INSERT INTO huge VALUES (1, 'before');
         INSERT INTO huge SELECT 2, v || v
             FROM (SELECT decode(repeat('00ff5c0a', 70000000), 'hex') AS v OFFSET 0) half;
         INSERT INTO huge VALUES (3, 'after')",
    );
    assert_huge_comes_back(&source);
}

/// Backs the table `huge` up and restores it; compares its rows.
fn assert_huge_comes_back(source: &Database<'_>) {
    let copy = source.server().database();
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    repository.restore(&copy.uri(), &[]);
    // Digests would need more memory in the server than a row may have as text.
    let sums = "SELECT id, octet_length(v), md5(v) FROM huge ORDER BY id";
    assert_eq!(copy.query(sums), source.query(sums));
}

#[test]
fn many_small_rows_come_back_through_block_ranges() {
    let server = Server::shared(17);
    let source = server.database();
    // Deleted and updated rows leave holes, so that blocks hold different numbers of rows.
    source.query(
        "CREATE TABLE many WITH (fillfactor = 10) AS
             SELECT i AS id, i % 97 AS k FROM generate_series(1, 900000) i;
         DELETE FROM many WHERE id % 3 = 0; UPDATE many SET k = -1 WHERE id % 1000 = 1;
         VACUUM many; INSERT INTO many SELECT -i, 0 FROM generate_series(1, 1000) i",
    );
    let blocks = source.query("SELECT pg_relation_size('many') / 8192");
    assert!(blocks.trim().parse::<u64>().unwrap() > 2 * 16_384, "{blocks} blocks are three ranges");
    assert_rows_come_back(&source, &server.database());
}
