//! One snapshot for many sessions, and locks that are waited for only so long.

use crate::logins::{block_on, settings};
use crate::sessions::eventually;
use pgkeep_engine::postgres::{Coordinator, Session, Snapshot, SnapshotOptions, WireSession};
use pgkeep_engine::{ErrorKind, Result};
use pgkeep_tests::{Database, Server, every_major};
use std::time::Duration;

every_major!(
    workers_see_what_the_coordinator_saw,
    settings_of_the_role_change_nothing,
    a_view_in_the_place_of_a_table_is_not_read,
    a_lock_that_cannot_be_had_names_who_is_in_the_way,
    every_table_that_may_not_be_read_is_named,
    locks_keep_a_table_from_being_changed,
);

async fn count(wire: &mut WireSession, table: &str) -> u64 {
    let mut out = wire.copy_out(&format!("COPY {table} TO STDOUT")).await.unwrap();
    let mut rows = Vec::new();
    while out.next(&mut rows).await.unwrap().is_some() {}
    out.rows().unwrap()
}

fn table(name: &str) -> (String, String) {
    ("public".to_owned(), name.to_owned())
}

async fn open(database: &Database<'_>) -> Snapshot {
    Snapshot::open(&settings(&database.uri()).unwrap(), &SnapshotOptions::default()).await.unwrap()
}

async fn lock(uri: &str, tables: &[(String, String)], timeout: Duration) -> Result<Snapshot> {
    let settings = settings(uri).unwrap();
    let coordinator = Coordinator::connect(&settings, &SnapshotOptions::default()).await.unwrap();
    coordinator.lock_and_look(tables, timeout).await
}

fn workers_see_what_the_coordinator_saw(server: &Server) {
    let database = server.database();
    database.query("CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 10)");
    block_on(async {
        let snapshot = open(&database).await;
        database.query("INSERT INTO t SELECT generate_series(1, 5)");
        for _ in 0..2 {
            let mut wire = snapshot.join().await.unwrap();
            assert_eq!(count(&mut wire, "public.t").await, 10);
            let error = wire.execute("DELETE FROM public.t").await.unwrap_err();
            assert!(format!("{error:?}").contains("read-only transaction"), "{error:?}");
        }
        let rows = snapshot.session().query("SELECT count(*) FROM public.t").await.unwrap();
        assert_eq!(rows[0].text("count").unwrap(), "10");
        let seen = format!(
            "SELECT pg_visible_in_snapshot(xmin::text::xid8, '{}') AS seen, count(*)
             FROM t GROUP BY 1 ORDER BY 1",
            snapshot.xids()
        );
        assert_eq!(database.query(&seen), "f|5\nt|10\n");
        let now = database.query("SELECT pg_current_wal_insert_lsn() - '0/0'");
        let now: u64 = now.trim().parse().unwrap();
        assert!(snapshot.lsn() > 0 && snapshot.lsn() < now);
        assert_eq!(snapshot.timeline(), 1);
        snapshot.close().await.unwrap();
    });
}

fn settings_of_the_role_change_nothing(server: &Server) {
    let database = server.database();
    let role = format!("moody_{}_{}", server.major(), std::process::id());
    database.query(&format!(
        "CREATE ROLE {role} LOGIN;
         ALTER ROLE {role} SET statement_timeout = '1s';
         ALTER ROLE {role} SET DateStyle = 'German';
         ALTER ROLE {role} SET bytea_output = 'escape';
         ALTER ROLE {role} SET TimeZone = 'Asia/Tokyo';
         ALTER ROLE {role} SET search_path = 'public';
         ALTER ROLE {role} SET extra_float_digits = -5;
         ALTER ROLE {role} SET client_encoding = 'LATIN1';"
    ));
    block_on(async {
        let settings = settings(&database.uri_of(&role)).unwrap();
        let snapshot = Snapshot::open(&settings, &SnapshotOptions::default()).await.unwrap();
        let sql = "SELECT current_setting('statement_timeout') || current_setting('search_path') \
                   || current_setting('max_parallel_workers_per_gather') \
                   || '2001-02-03 04:05:06+00'::timestamptz || '\\x00ff'::bytea::text \
                   || 0.1::float8 || 'é' AS text";
        let expected = "0\"\"02001-02-03 04:05:06+00\\x00ff0.1é";
        let rows = snapshot.session().query(sql).await.unwrap();
        assert_eq!(rows[0].text("text").unwrap(), expected);
        let mut wire = snapshot.join().await.unwrap();
        let mut out = wire.copy_out(&format!("COPY ({sql}) TO STDOUT")).await.unwrap();
        let mut rows = Vec::new();
        out.next(&mut rows).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&rows), expected.replace('\\', "\\\\") + "\n");
    });
    database.query(&format!("DROP ROLE {role}"));
}

/// Schemas can be renamed while tables in them are locked.
fn a_view_in_the_place_of_a_table_is_not_read(server: &Server) {
    let database = server.database();
    database.query("CREATE VIEW t AS SELECT 1 / 0 AS id");
    block_on(async {
        let snapshot = open(&database).await;
        let sql = "SELECT id FROM ONLY public.t";
        let mut wire = snapshot.join().await.unwrap();
        let selected = wire.select(sql).await.err().unwrap();
        let mut wire = snapshot.join().await.unwrap();
        let copied = wire.copy_out(&format!("COPY ({sql}) TO STDOUT")).await.err().unwrap();
        for error in [selected, copied] {
            assert!(format!("{error:?}").contains("non-system view"), "{error:?}");
        }
    });
}

fn a_lock_that_cannot_be_had_names_who_is_in_the_way(server: &Server) {
    let database = server.database();
    database.query("CREATE TABLE free (); CREATE TABLE \"held \"\"fast\" ()");
    block_on(async {
        let other = settings(&database.uri()).unwrap();
        let holder = Session::connect(&other, "rival").await.unwrap();
        holder.execute("BEGIN; LOCK TABLE \"held \"\"fast\"").await.unwrap();
        let tables = [table("free"), table("held \"fast")];
        let patience = Duration::from_millis(300);

        let uri = database.uri();
        let of_coordinator = lock(&uri, &tables, patience).await.err().unwrap();
        let snapshot = open(&database).await;
        let mut wire = snapshot.join().await.unwrap();
        let of_worker = snapshot.lock_on(&mut wire, &tables, patience).await.unwrap_err();
        for error in [of_coordinator, of_worker] {
            assert_eq!(error.kind(), ErrorKind::LockTimeout, "{error:?}");
            let said = error.to_string();
            for part in [
                "\"held \"\"fast\" within 0.3 seconds",
                &format!("process {} (role \"postgres\"", holder.backend()),
                "application \"pgkeep rival\"",
                "idle in transaction",
                "query: BEGIN; LOCK TABLE \"held \"\"fast\"",
            ] {
                assert!(said.contains(part), "{said} / {part}");
            }
            assert!(error.hints().iter().any(|hint| hint.contains("--lock-timeout")));
        }

        // Behind somebody who waits himself.
        holder.execute("LOCK TABLE free IN ACCESS SHARE MODE").await.unwrap();
        let waiter = tokio::spawn(async move {
            let waiter = Session::connect(&other, "queue").await.unwrap();
            waiter.execute("ALTER TABLE free ADD COLUMN c int").await
        });
        let queued = "SELECT count(*) FROM pg_locks WHERE NOT granted \
                      AND relation = 'free'::regclass";
        eventually(&database, queued, "1");
        let error = lock(&uri, &[table("free")], patience).await.err().unwrap();
        let said = error.to_string();
        assert!(said.contains("pgkeep queue") && said.contains("waiting for a lock"), "{said}");
        holder.execute("COMMIT").await.unwrap();
        waiter.await.unwrap().unwrap();
        lock(&uri, &tables, patience).await.unwrap();
    });
}

fn every_table_that_may_not_be_read_is_named(server: &Server) {
    let database = server.database();
    let role = format!("reader_{}_{}", server.major(), std::process::id());
    database.query(&format!(
        "CREATE ROLE {role} LOGIN;
         CREATE TABLE a (); CREATE TABLE b (); CREATE TABLE c ();
         GRANT SELECT ON b TO {role};
         CREATE SCHEMA s; CREATE TABLE s.d (); GRANT SELECT ON s.d TO {role};"
    ));
    let error = block_on(async {
        let uri = database.uri_of(&role);
        lock(&uri, &[table("b")], Duration::ZERO).await.unwrap();
        let hidden = ("s".to_owned(), "d".to_owned());
        let tables = [table("a"), table("b"), table("c"), hidden];
        lock(&uri, &tables, Duration::ZERO).await.err().unwrap()
    });
    assert_eq!(error.kind(), ErrorKind::Privilege);
    let said = error.to_string();
    for (name, named) in
        [("public.a", true), ("public.b", false), ("public.c", true), ("s.d", true)]
    {
        assert_eq!(said.contains(&format!("\"{name}\"")), named, "{said}");
    }
    assert!(said.contains(&role));
    database.query(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

fn locks_keep_a_table_from_being_changed(server: &Server) {
    let database = server.database();
    database.query(
        "CREATE TABLE parent (id int) PARTITION BY RANGE (id);
        CREATE TABLE child PARTITION OF parent DEFAULT; CREATE TABLE plain (id int);",
    );
    block_on(async {
        let names: Vec<_> = ["parent", "child", "plain"].map(table).to_vec();
        let uri = database.uri();
        let snapshot = lock(&uri, &names, Duration::from_secs(5)).await.unwrap();
        for name in ["parent", "child", "plain"] {
            let error =
                database.query_error(&format!("SET lock_timeout = '50ms'; DROP TABLE {name}"));
            assert!(error.contains("lock timeout"), "{error}");
        }
        database.query("INSERT INTO plain VALUES (1)");
        snapshot.close().await.unwrap();
        database.query("DROP TABLE parent, plain");

        let error = lock(&uri, &names, Duration::from_secs(5)).await.err().unwrap();
        assert!(error.to_string().contains("dropped or renamed"), "{error:?}");
    });
}
