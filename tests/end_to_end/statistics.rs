//! Optimizer statistics come back where the server takes them, and are made anew where it does
//! not, so that a restored database has good plans.

use crate::{platform, repository};
use pgkeep_tests::{Database, MAJORS, Server, assert_same_text, every_major};

every_major!(
    statistics_move_to_the_newest,
    tables_without_statistics_are_analyzed,
    restored_tables_are_analyzed_or_not_as_asked,
    plans_are_as_good_as_before,
);

fn newest() -> &'static Server {
    Server::shared(MAJORS[MAJORS.len() - 1])
}

/// Partitions at two levels, inheritance, materialized views, indexes of expressions, ranges and
/// arrays, odd names; the server analyzes none of them by itself.
const TABLES: &str = "
    CREATE SCHEMA \"odd 's\";
    CREATE TABLE \"odd 's\".\"ta\\ble\" (id int PRIMARY KEY, \"co'l\" text, t timestamptz, b bytea);
    INSERT INTO \"odd 's\".\"ta\\ble\"
      SELECT i, E'it''s \\\\ ' || i % 7, '2020-01-01'::timestamptz + i * '1 hour'::interval,
             decode(md5((i % 9)::text), 'hex') FROM generate_series(1, 3000) i;
    CREATE INDEX ON \"odd 's\".\"ta\\ble\" (lower(\"co'l\"), (id % 10));
    CREATE TABLE kinds (a int[], r int4range, m int4multirange, c regclass, n numeric);
    INSERT INTO kinds SELECT ARRAY[i % 3, i % 5], int4range(i, i + i % 20),
      int4multirange(int4range(i, i + 3)), 'kinds'::regclass, i / 3.0
      FROM generate_series(1, 2000) i;
    CREATE TABLE parted (id int, v text) PARTITION BY RANGE (id);
    CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (500);
    CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (500) TO (2000)
      PARTITION BY RANGE (id);
    CREATE TABLE parted_higher PARTITION OF parted_high DEFAULT;
    INSERT INTO parted SELECT i, 'v' || i % 11 FROM generate_series(0, 1999) i;
    CREATE INDEX ON parted (upper(v));
    CREATE TABLE parent (id int);
    CREATE TABLE child (more text) INHERITS (parent);
    INSERT INTO parent SELECT generate_series(1, 100);
    INSERT INTO child SELECT i, i FROM generate_series(1, 1000) i;
    CREATE MATERIALIZED VIEW counted AS SELECT v, count(*) FROM parted GROUP BY v;
    CREATE MATERIALIZED VIEW hollow AS SELECT v FROM parted WITH NO DATA;
    CREATE TABLE empty (id int PRIMARY KEY);
    DO $$ DECLARE t regclass; BEGIN
      FOR t IN SELECT oid FROM pg_class WHERE relkind IN ('r', 'm') AND oid >= 16384
        AND relnamespace::regnamespace::text NOT LIKE 'pg\\_%'
      LOOP EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', t); END LOOP;
    END $$;";

/// The statistics as `pg_dump` tells them, but for what only the newest server knows.
fn statistics(database: &Database<'_>) -> String {
    let text = database.dump(&["--statistics-only"]);
    assert!(text.contains("pg_restore_attribute_stats"), "there is nothing to compare");
    let of_version =
        |line: &str| line.starts_with("\t'version', ") || line.starts_with("\t'relallfrozen', ");
    let telling = text.lines().filter(|line| !of_version(line));
    telling.map(|line| line.trim_end_matches(',')).collect::<Vec<_>>().join("\n")
}

/// Relations that have statistics of columns.
fn analyzed(database: &Database<'_>) -> String {
    database.query(
        "SELECT DISTINCT schemaname, tablename, inherited FROM pg_stats
         WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2, 3",
    )
}

fn statistics_move_to_the_newest(server: &Server) {
    let source = server.database();
    source.query(TABLES);
    source.query("ANALYZE");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = newest().database();
    let restored = repository.restore(&copy.uri(), &["-j", "3"]);
    assert_eq!(restored["databases"][0]["analyzed"], 0);
    assert_same_text(&statistics(&source), &statistics(&copy));
    let again = newest().database();
    repository.restore(&again.uri(), &["--schema-only"]);
    assert_eq!(analyzed(&again), "");
    repository.restore(&again.uri(), &["--statistics-only"]);
    assert_same_text(&statistics(&source), &statistics(&again));
}

fn tables_without_statistics_are_analyzed(server: &Server) {
    let source = server.database();
    source.query(TABLES);
    source.query("ANALYZE parent");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = server.database();
    let restored = repository.restore(&copy.uri(), &["-j", "2"]);
    source.query("ANALYZE");
    assert_eq!(analyzed(&copy), analyzed(&source));
    if server.major() >= 18 {
        // The empty table is known to be, and `parent` has its own.
        assert_eq!(restored["databases"][0]["analyzed"], 8);
    }
}

fn restored_tables_are_analyzed_or_not_as_asked(server: &Server) {
    let source = server.database();
    source.query(TABLES);
    source.query("ANALYZE");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let analyzed_after = |arguments: &[&str]| {
        let copy = server.database();
        let restored = repository.restore(&copy.uri(), arguments);
        (restored["databases"][0]["analyzed"].as_u64().unwrap(), analyzed(&copy))
    };
    let nothing = analyzed_after(&["--no-statistics", "--no-analyze"]);
    assert_eq!(nothing, (0, String::new()));
    for arguments in [&["--analyze"][..], &["--no-statistics"]] {
        let (count, which) = analyzed_after(arguments);
        assert!(count > 0);
        assert_eq!(which, analyzed(&source), "{arguments:?}");
    }
    let copy = server.database();
    repository.restore(&copy.uri(), &["--schema-only"]);
    assert_eq!(analyzed(&copy), "");
    repository.restore(&copy.uri(), &["--data-only"]);
    assert_eq!(
        analyzed(&copy).replace("public|counted|f\n", ""),
        analyzed(&source).replace("public|counted|f\n", "")
    );
}

fn plans_are_as_good_as_before(server: &Server) {
    let source = platform(server, "0.02");
    source.query("ANALYZE");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = server.database();
    repository.restore(&copy.uri(), &[]);
    let estimate = |database: &Database<'_>| {
        let plan = database.query("EXPLAIN (FORMAT JSON) SELECT * FROM jobs WHERE state = 'done'");
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        plan[0]["Plan"]["Plan Rows"].as_f64().unwrap()
    };
    let (before, after) = (estimate(&source), estimate(&copy));
    assert!(before > 10.0 && (0.8..1.25).contains(&(after / before)), "{before} became {after}");
}

#[test]
fn statistics_go_with_a_schema_to_its_other_name() {
    let source = newest().database();
    source.query(
        "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT i % 5 AS id FROM generate_series(1, 500) i;
                  ANALYZE s.t",
    );
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = newest().database();
    let arguments = ["-n", "s", "--rename-schema", "s=other"];
    let restored = repository.restore(&copy.uri(), &arguments);
    assert_eq!(restored["databases"][0]["analyzed"], 0);
    let query = "SELECT tablename, most_common_vals, n_distinct FROM pg_stats WHERE schemaname = ";
    assert_eq!(copy.query(&format!("{query}'other'")), source.query(&format!("{query}'s'")));
}

#[test]
fn refused_statistics_are_told() {
    let source = newest().database();
    source.query("CREATE TABLE t AS SELECT i % 5 AS id FROM generate_series(1, 500) i; ANALYZE t");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = newest().database();
    copy.query("CREATE TABLE t (other int, id text)");
    let arguments = ["restore", "--json", "-d", &copy.uri(), "--statistics-only", "-t", "t"];
    let _ = repository.run(arguments).ok();
    copy.query("DROP TABLE t; CREATE TABLE t (other int)");
    let refused = repository.run(arguments).code(3).json();
    let warnings = refused["warnings"].to_string();
    assert!(warnings.contains("STATISTICS DATA public.t could not be restored"), "{warnings}");
}

#[test]
fn an_export_holds_statistics_where_they_are_asked_for() {
    let source = newest().database();
    source.query(TABLES);
    source.query("ANALYZE");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let plain = repository.run(["export"]).ok().stdout_text();
    assert!(!plain.contains("pg_restore_relation_stats"));
    let with = repository.run(["export", "--statistics"]).ok().stdout_text();
    let copy = newest().database();
    copy.query(&with);
    assert_same_text(&statistics(&source), &statistics(&copy));
}

/// The wrapper of this server could not be asked, and no other server is.
#[test]
fn no_foreign_server_is_asked_for_statistics() {
    for server in [Server::shared(14), newest()] {
        let source = server.database();
        source.query(
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
             CREATE TABLE parted (id int) PARTITION BY LIST (id);
             CREATE FOREIGN TABLE far PARTITION OF parted FOR VALUES IN (1) SERVER s;
             CREATE TABLE near PARTITION OF parted FOR VALUES IN (2);
             CREATE TABLE parent (id int);
             CREATE FOREIGN TABLE child () INHERITS (parent) SERVER s;
             INSERT INTO near VALUES (2); INSERT INTO parent VALUES (1)",
        );
        let repository = repository();
        repository.backup(&source.uri(), &[]);
        let copy = server.database();
        repository.restore(&copy.uri(), &["--analyze"]);
        assert_eq!(analyzed(&copy), "public|near|f\n");
    }
}
