//! Rows that cannot simply go where they came from: into other partitions, and into tables whose
//! triggers and foreign keys the role may not switch off for its session.

use crate::repository;
use pgkeep_tests::{Server, every_major};

every_major!(
    rows_of_enum_hash_partitions_go_where_they_belong,
    ordinary_role_loads_rows_in_order_with_triggers_or_without,
);

fn rows_of_enum_hash_partitions_go_where_they_belong(server: &Server) {
    let source = server.database();
    source.query(
        "CREATE TYPE shade AS ENUM ('red', 'green', 'blue', 'black', 'white', 'grey', 'pink');
         CREATE TABLE dots (id int, s shade, PRIMARY KEY (id, s)) PARTITION BY HASH (s);
         CREATE TABLE dots_0 PARTITION OF dots FOR VALUES WITH (MODULUS 3, REMAINDER 0);
         CREATE TABLE dots_1 PARTITION OF dots FOR VALUES WITH (MODULUS 3, REMAINDER 1)
           PARTITION BY RANGE (id);
         CREATE TABLE dots_1_low PARTITION OF dots_1 FOR VALUES FROM (MINVALUE) TO (500);
         CREATE TABLE dots_1_high PARTITION OF dots_1 FOR VALUES FROM (500) TO (MAXVALUE);
         CREATE TABLE dots_2 PARTITION OF dots FOR VALUES WITH (MODULUS 3, REMAINDER 2);
         CREATE INDEX dots_s ON dots (s);
         INSERT INTO dots SELECT i, v FROM generate_series(1, 1000) i, unnest(enum_range(NULL::shade)) v",
    );
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = server.database();
    // The values get other OIDs here, and so other hashes.
    copy.query("CREATE TYPE one_more AS ENUM ('a')");
    repository.restore(&copy.uri(), &["-j", "4"]);
    let sums = "SELECT s, count(*), sum(id) FROM dots GROUP BY s ORDER BY s::text";
    assert_eq!(source.query(sums), copy.query(sums));
    // Each is found where the server looks for it.
    let found = "SELECT count(*) FROM dots WHERE s = 'pink' AND id < 500";
    assert_eq!(copy.query(found), "499\n");
    copy.query("DROP TYPE one_more");
    source.assert_same_schema(&copy);
}

#[test]
fn rows_go_into_tables_that_are_partitioned_otherwise() {
    let server = Server::shared(18);
    let split = |first: i32| {
        format!(
            "CREATE TABLE split (id int) PARTITION BY RANGE (id);
             CREATE TABLE split_1 PARTITION OF split FOR VALUES FROM (0) TO ({first});
             CREATE TABLE split_2 PARTITION OF split FOR VALUES FROM ({first}) TO (100)"
        )
    };
    let (source, copy) = (server.database(), server.database());
    source.query(&format!("{}; INSERT INTO split SELECT generate_series(0, 99)", split(50)));
    copy.query(&split(20));
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let refused = repository.run(["restore", "--json", "--data-only", "-d", &copy.uri()]).code(1);
    assert_eq!(refused.json()["databases"][0]["failed"][0]["sqlstate"], "23514");
    copy.query("TRUNCATE split");
    repository.restore(&copy.uri(), &["--data-only", "--load-via-partition-root"]);
    assert_eq!(copy.query("SELECT count(*), min(id) FROM split_2"), "80|20\n");
    assert_eq!(copy.query("SELECT count(*) FROM split"), "100\n");
}

fn ordinary_role_loads_rows_in_order_with_triggers_or_without(server: &Server) {
    let source = server.database();
    source.query(
        "DO $$ BEGIN CREATE ROLE loads_rows LOGIN;
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
         CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent SELECT generate_series(1, 9);
         CREATE TABLE child (id int, parent int REFERENCES parent, filler text);
         INSERT INTO child SELECT i, 1 + i % 9, repeat('x', 99) FROM generate_series(1, 5000) i;
         CREATE TABLE fired (by text);
         CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN INSERT INTO public.fired VALUES (TG_NAME); RETURN NEW; END';
         CREATE TRIGGER plain AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION fire();
         CREATE TRIGGER always AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION fire();
         ALTER TABLE child ENABLE ALWAYS TRIGGER always;
         CREATE TRIGGER never AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION fire();
         ALTER TABLE child DISABLE TRIGGER never;
         ALTER TABLE parent OWNER TO loads_rows; ALTER TABLE child OWNER TO loads_rows;
         ALTER TABLE fired OWNER TO loads_rows",
    );
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let load = |options: &[&str]| {
        let copy = server.database();
        repository.restore(&copy.uri(), &["--schema-only"]);
        let uri = copy.uri_of("loads_rows");
        let rows = ["restore", "-a", "--json", "-d", &uri];
        let run = repository.run(rows.iter().chain(options)).code(3);
        assert!(run.stdout_text().contains("session_replication_role"), "{run:?}");
        copy
    };
    let with = load(&[]);
    let fired = "SELECT by, count(*) FROM fired GROUP BY by ORDER BY by";
    assert_eq!(with.query(fired), "always|5000\nplain|5000\n");
    let without = load(&["--disable-triggers"]);
    assert_eq!(without.query(fired), "");
    source.assert_same_rows(&without);
    source.assert_same_schema(&without);
    // A superuser has no trigger in the way, and needs no order.
    let copy = server.database();
    repository.restore(&copy.uri(), &["--schema-only"]);
    repository.restore(&copy.uri(), &["--data-only", "--disable-triggers"]);
    assert_eq!(copy.query("SELECT count(*) FROM child"), "5000\n");
}
