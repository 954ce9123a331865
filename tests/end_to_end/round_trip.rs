//! A backup restored into an empty database is the same database: `pg_dump` finds no line
//! that differs and the server computes the same digests, on every major version.

use crate::repository;
use pgkeep_tests::{Database, Server, every_major};

every_major!(
    platform_comes_back,
    every_type_comes_back,
    relations_come_back,
    objects_come_back,
    empty_database_comes_back,
    one_connection_is_enough,
    tables_made_side_by_side_keep_those_above_them,
    fixture_holds_every_type,
);

fn assert_comes_back(source: &Database<'_>, options: &[&str]) {
    let repository = repository();
    repository.backup(&source.uri(), options);
    let copy = source.server().database();
    repository.restore(&copy.uri(), options);
    source.assert_same_rows(&copy);
    source.assert_same_schema(&copy);
    let _ = repository.run(["verify"]).ok();
}

fn platform_comes_back(server: &Server) {
    assert_comes_back(&crate::platform(server, "0.02"), &["-j", "4"]);
}

fn one_connection_is_enough(server: &Server) {
    assert_comes_back(&crate::platform(server, "0.005"), &["-j", "1"]);
}

/// Parents in either order, partitions of one root with one for all others, sequences: whoever
/// makes two of them at once could wait for the other.
fn tables_made_side_by_side_keep_those_above_them(server: &Server) {
    let source = server.database();
    source.query(
        "CREATE TABLE a (x int CHECK (x > 0)); CREATE TABLE b (y int DEFAULT 7);
         CREATE TABLE measures (at int NOT NULL, value text) PARTITION BY RANGE (at);
         CREATE TABLE others PARTITION OF measures DEFAULT;
         DO $$ BEGIN
           FOR n IN 1..40 LOOP
             EXECUTE format('CREATE TABLE of_both_%1$s (id serial PRIMARY KEY) INHERITS (%2$s)', n,
                            CASE n % 2 WHEN 0 THEN 'a, b' ELSE 'b, a' END);
             EXECUTE format('COMMENT ON TABLE of_both_%1$s IS ''number %1$s''', n);
             EXECUTE format('CREATE TABLE below_%1$s () INHERITS (of_both_%1$s)', n);
             EXECUTE format('CREATE TABLE measures_%1$s PARTITION OF measures
                             FOR VALUES FROM (%1$s) TO (%1$s + 1) PARTITION BY RANGE (at)', n);
             EXECUTE format('CREATE TABLE measures_%1$s_all PARTITION OF measures_%1$s DEFAULT', n);
             EXECUTE format('INSERT INTO measures VALUES (%1$s, ''value''), (-%1$s, NULL)', n);
             EXECUTE format('INSERT INTO below_%1$s (x, y) VALUES (%1$s, DEFAULT)', n);
           END LOOP;
         END $$",
    );
    assert_comes_back(&source, &["-j", "8"]);
}

fn every_type_comes_back(server: &Server) {
    let source = server.database();
    source.load("types.sql", &[]);
    assert_comes_back(&source, &[]);
}

fn relations_come_back(server: &Server) {
    let source = server.database();
    source.load_for_version("relations");
    assert_comes_back(&source, &[]);
}

fn objects_come_back(server: &Server) {
    let source = server.database();
    source.load_for_version("objects");
    source.load("objects-rare.sql", &[]);
    source.load("objects-foreign.sql", &[]);
    assert_comes_back(&source, &[]);
}

fn empty_database_comes_back(server: &Server) {
    let source = server.database();
    assert_comes_back(&source, &[]);
}

/// Types that no column can be given a value of, and arrays, which are made of the others.
const TYPES_MISSING: &str = "
    SELECT t.typname FROM pg_type t
    WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm')
      AND (t.typelem = 0 OR t.typlen > 0) AND t.typcategory <> 'A'
      AND t.typname NOT IN ('pg_node_tree', 'pg_ndistinct', 'pg_dependencies', 'pg_mcv_list',
                            'pg_brin_bloom_summary', 'pg_brin_minmax_multi_summary')
      AND NOT EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                      WHERE c.relnamespace = 'types'::regnamespace AND a.atttypid = t.oid)";

fn fixture_holds_every_type(server: &Server) {
    let source = server.database();
    source.load("types.sql", &[]);
    assert_eq!(source.query(TYPES_MISSING), "");
}
