//! Indexes and keys of a restore: a key is built beside its table's other indexes and is the same
//! as one that was made as a whole, and the server is told how many workers it may take.

use crate::repository;
use pgkeep_tests::{Database, Repository, Server, every_major};
use serde_json::Value;

every_major!(a_key_that_is_built_beside_other_indexes_is_what_it_was);

/// What a restore runs with indexes and keys, and how many workers it may take for each.
const WATCH: &str = "
    CREATE SCHEMA watch; CREATE TABLE watch.seen (tag text, name text, workers int);
    CREATE FUNCTION watch.note() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO watch.seen
      SELECT command_tag, object_identity, current_setting('max_parallel_maintenance_workers')::int
      FROM pg_event_trigger_ddl_commands() WHERE object_type IN ('index', 'table constraint', 'table');
    END $$;
    CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch.note();
    ALTER EVENT TRIGGER watch ENABLE ALWAYS";

/// 5 MB of rows: a smaller table's key is made as a whole.
const ROWS: &str = "SELECT i AS a, i AS b, repeat('x', 100) AS t FROM generate_series(1, 50000) i";

fn watched(server: &Server) -> Database<'_> {
    let copy = server.database();
    copy.query(WATCH);
    copy
}

fn keys(server: &Server) -> String {
    let nulls = if server.major() >= 15 { " NULLS NOT DISTINCT" } else { "" };
    let mut tables = format!(
        "CREATE TABLE plain AS {ROWS};
         ALTER TABLE plain ADD PRIMARY KEY (a) INCLUDE (t) WITH (fillfactor = 70),
           ADD CONSTRAINT \"odd \"\"name\" UNIQUE{nulls} (b, a) DEFERRABLE INITIALLY DEFERRED,
           ADD CONSTRAINT later UNIQUE (b) DEFERRABLE;
         CREATE INDEX plain_t ON plain (t, a);
         ALTER TABLE plain CLUSTER ON plain_pkey;
         COMMENT ON CONSTRAINT plain_pkey ON plain IS 'the key'; COMMENT ON INDEX plain_pkey IS 'its index';
         CREATE TABLE refers (a int REFERENCES plain); INSERT INTO refers VALUES (1);
         CREATE TABLE identified AS {ROWS};
         ALTER TABLE identified ALTER b SET NOT NULL, ADD UNIQUE (b), ADD UNIQUE (a);
         ALTER TABLE identified REPLICA IDENTITY USING INDEX identified_b_key;
         CREATE TABLE parted (a int, b int, t text, PRIMARY KEY (a)) PARTITION BY RANGE (a);
         CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (1000000);
         INSERT INTO parted {ROWS}; CREATE INDEX ON parted (b);"
    );
    if server.major() >= 18 {
        tables += &format!(
            "CREATE TABLE spans AS SELECT int4range(a, a + 1) AS s, int4range(a, b + 1) AS o, *
               FROM ({ROWS}) AS made;
             ALTER TABLE spans ADD PRIMARY KEY (s, o WITHOUT OVERLAPS); CREATE INDEX ON spans (b);"
        );
    }
    tables
}

fn a_key_that_is_built_beside_other_indexes_is_what_it_was(server: &Server) {
    let source = server.database();
    source.query(&keys(server));
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = watched(server);
    repository.restore(&copy.uri(), &["-j", "4"]);
    let built = "SELECT name FROM watch.seen WHERE tag = 'CREATE INDEX'
                 AND name ~ '_pkey|_key|later|odd' ORDER BY 1";
    let beside = "public.\"odd \"\"name\"\npublic.identified_a_key\npublic.identified_b_key\n\
                  public.later\npublic.part_pkey\npublic.plain_pkey\n";
    assert_eq!(copy.query(built), beside);
    copy.query("DROP EVENT TRIGGER watch; DROP SCHEMA watch CASCADE");
    source.assert_same_schema(&copy);
    source.assert_same_rows(&copy);
    let facts =
        "SELECT indexrelid::regclass, indisunique, indisprimary, indimmediate, indisclustered,
                        indisvalid, indisreplident, indnkeyatts, indoption,
                        pg_get_constraintdef(c.oid), condeferrable, condeferred
                 FROM pg_index JOIN pg_constraint c ON conindid = indexrelid AND conrelid = indrelid
                 WHERE indrelid::regclass::text !~ '^pg_' ORDER BY indexrelid::regclass::text";
    assert_eq!(copy.query(facts), source.query(facts));
}

fn backup_of_a_table(server: &Server) -> (Database<'_>, Repository) {
    let source = server.database();
    source.query(&format!(
        "CREATE TABLE t AS {ROWS}; ALTER TABLE t ADD PRIMARY KEY (a); CREATE INDEX t_b ON t (b);
         CREATE TABLE refers (a int REFERENCES t); INSERT INTO refers VALUES (1)"
    ));
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    (source, repository)
}

#[test]
fn a_key_whose_index_is_refused_is_one_failure_and_what_stands_on_it_is_skipped() {
    let server = Server::shared(18);
    let (_source, repository) = backup_of_a_table(server);
    let copy = server.database();
    copy.query("CREATE SEQUENCE t_pkey");
    let run = repository.run(["restore", "--json", "-d", &copy.uri()]).code(1);
    let report = run.json();
    let failed = report["databases"][0]["failed"].as_array().unwrap();
    let told: Vec<_> = failed.iter().map(|one| (&one["kind"], &one["sqlstate"])).collect();
    let kinds = ["CONSTRAINT", "FK CONSTRAINT", "STATISTICS DATA"];
    let states = ["42P07".into(), ().into(), ().into()];
    let expected: Vec<(Value, Value)> = kinds.into_iter().map(Value::from).zip(states).collect();
    assert_eq!(told, expected.iter().map(|(kind, code)| (kind, code)).collect::<Vec<_>>());
    assert_eq!(copy.query("SELECT count(*) FROM pg_indexes WHERE tablename = 't'"), "1\n");
}

/// Over TCP nobody knows whose processors they are: there the server's setting stays.
#[test]
fn indexes_get_the_processors_of_this_machine_that_no_connection_keeps_busy() {
    let server = Server::shared(18);
    let (_source, repository) = backup_of_a_table(server);
    let restored_by = |uri: fn(&Database<'_>) -> String| {
        let copy = watched(server);
        let many = "SET max_parallel_maintenance_workers = 200";
        copy.query(&format!("ALTER DATABASE {} {many}", copy.name()));
        repository.restore(&uri(&copy), &["-j", "1"]);
        copy.query("SELECT DISTINCT workers FROM watch.seen WHERE name = 'public.t_b'")
    };
    let processors = std::thread::available_parallelism().unwrap().get();
    let by_socket = |copy: &Database<'_>| {
        let directory = copy.server().socket_directory().display();
        let port = copy.server().port();
        format!("postgresql:///{}?host={directory}&port={port}&user=postgres", copy.name())
    };
    assert_eq!(restored_by(by_socket), format!("{}\n", processors - 1));
    assert_eq!(restored_by(|copy| copy.uri()), "200\n");
}
