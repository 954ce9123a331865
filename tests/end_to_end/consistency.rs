//! A backup is of one moment, whatever is being written meanwhile.

use crate::logins::{block_on, settings};
use crate::repository;
use crate::sessions::eventually;
use pgkeep_engine::postgres::Session;
use pgkeep_tests::{Database, Repository, Server, every_major};
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

every_major!(
    balances_equal_history_while_pgbench_writes,
    tables_rewritten_while_a_backup_waits_for_them_come_whole,
    tables_renamed_or_dropped_while_a_backup_waits_are_looked_for_again,
);

/// Writes with four connections until it is dropped.
struct Pgbench(Child);

impl Pgbench {
    fn start(database: &Database<'_>) -> Self {
        let mut pgbench = database.server().client_program("pgbench");
        pgbench.args(["--initialize", "--quiet", "--scale=3", database.name()]);
        let initialized = pgbench.output().unwrap();
        assert!(initialized.status.success(), "{initialized:?}");
        let mut pgbench = database.server().client_program("pgbench");
        pgbench.args(["--client=4", "--jobs=1", "--no-vacuum", "--time=300", database.name()]);
        let pgbench = pgbench.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let this = Self(pgbench);
        let deadline = Instant::now() + Duration::from_secs(60);
        while rows(database) < 100 {
            assert!(Instant::now() < deadline, "pgbench does not write");
            std::thread::sleep(Duration::from_millis(10));
        }
        this
    }
}

impl Drop for Pgbench {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn rows(database: &Database<'_>) -> u64 {
    database.query("SELECT count(*) FROM pgbench_history").trim().parse().unwrap()
}

fn balances_equal_history_while_pgbench_writes(server: &Server) {
    let source = server.database();
    let mut pgbench = Pgbench::start(&source);
    let repository = repository();
    let before = rows(&source);
    repository.backup(&source.uri(), &["-j", "3"]);
    let after = rows(&source);
    assert_eq!(pgbench.0.try_wait().unwrap(), None, "pgbench ended before the backup did");
    drop(pgbench);
    assert!(after > before, "nothing was written meanwhile");
    let copy = server.database();
    repository.restore(&copy.uri(), &[]);
    let sums = copy.query(
        "SELECT (SELECT sum(delta) FROM pgbench_history), (SELECT sum(abalance) FROM pgbench_accounts),
                (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(bbalance) FROM pgbench_branches)",
    );
    let sums: Vec<_> = sums.trim().split('|').collect();
    assert!(sums.iter().all(|sum| *sum == sums[0]), "torn apart: {sums:?}");
    assert!((before..=after).contains(&rows(&copy)), "the moment lies outside of the backup");
    // A key that was there twice would have failed; one that is missing would not.
    assert_eq!(copy.query("SELECT count(*) FROM pgbench_accounts"), "300000\n");
}

#[test]
fn uncommitted_and_later_rows_stay_out() {
    let server = Server::shared(18);
    let source = server.database();
    source.query("CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 1000) i");
    let mut psql = source.psql_command();
    let script = "BEGIN; DELETE FROM t WHERE id > 10; INSERT INTO t VALUES (-1); \
                  COMMENT ON TABLE t IS 'not yet'; SELECT pg_sleep(60)";
    let mut writer = psql.args(["-c", script]).stdout(Stdio::null()).spawn().unwrap();
    let sleeping = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'PgSleep'",
        source.name()
    );
    while server.query(&sleeping) == "0\n" {
        std::thread::sleep(Duration::from_millis(10));
    }
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    assert_eq!(writer.try_wait().unwrap(), None, "the backup waited for the writer");
    writer.kill().unwrap();
    writer.wait().unwrap();
    let copy = server.database();
    repository.restore(&copy.uri(), &[]);
    assert_eq!(copy.query("SELECT count(*), min(id), max(id) FROM t"), "1000|1|1000\n");
    assert_eq!(copy.query("SELECT obj_description('t'::regclass)"), "\n");
}

/// Begins a backup while a transaction of another session holds locks, and ends that
/// transaction as soon as the backup waits for it.
fn backup_while(source: &Database<'_>, repository: &Repository, change: &str) {
    block_on(async {
        let settings = settings(&source.uri()).unwrap();
        let mut other = Session::connect(&settings, "other").await.unwrap();
        other.execute(&format!("BEGIN; {change}")).await.unwrap();
        let mut command = repository.command();
        command.args(["backup", "-q", "-d", &source.uri()]);
        let mut backup = command.spawn().unwrap();
        let waiting = format!(
            "SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
             WHERE NOT l.granted AND a.datname = '{}'",
            source.name()
        );
        eventually(source, &waiting, "t");
        other.execute("COMMIT").await.unwrap();
        assert!(backup.wait().unwrap().success());
        other.close().await;
    });
}

fn tables_rewritten_while_a_backup_waits_for_them_come_whole(server: &Server) {
    let source = server.database();
    source.query(
        "CREATE TABLE a AS SELECT i FROM generate_series(1, 100) i; CREATE TABLE b (i int);
         CREATE TABLE c AS SELECT i FROM generate_series(1, 100) i;",
    );
    let repository = repository();
    // A snapshot older than this would see no row of `a`, of `b` or of `c`.
    let change = "INSERT INTO b SELECT i FROM a; TRUNCATE a; ALTER TABLE c ALTER i TYPE bigint";
    backup_while(&source, &repository, change);
    let copy = server.database();
    repository.restore(&copy.uri(), &[]);
    let counts = "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b),
                  (SELECT count(*) FROM c), (SELECT pg_typeof(i) FROM c LIMIT 1)";
    assert_eq!(copy.query(counts), "0|100|100|bigint\n");
}

fn tables_renamed_or_dropped_while_a_backup_waits_are_looked_for_again(server: &Server) {
    let source = server.database();
    source.query("CREATE TABLE a (i int); CREATE TABLE b (i int); CREATE TABLE c (j int)");
    let repository = repository();
    let change = "ALTER TABLE a RENAME TO d; ALTER TABLE c RENAME TO a; DROP TABLE b";
    backup_while(&source, &repository, change);
    let copy = server.database();
    repository.restore(&copy.uri(), &[]);
    let columns = "SELECT attrelid::regclass || '.' || attname FROM pg_attribute
                   JOIN pg_class c ON c.oid = attrelid
                   WHERE relnamespace = 'public'::regnamespace AND attnum > 0 ORDER BY 1";
    assert_eq!(copy.query(columns), "a.j\nd.i\n");
}

#[test]
fn a_given_snapshot_that_lost_a_tables_rows_is_refused() {
    let server = Server::shared(18);
    let source = server.database();
    source.query("CREATE TABLE kept (i int); CREATE TABLE \"Gone\" AS SELECT 1 AS i");
    let repository = repository();
    block_on(async {
        let settings = settings(&source.uri()).unwrap();
        let mut other = Session::connect(&settings, "other").await.unwrap();
        other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
        let rows = other.query("SELECT pg_export_snapshot() AS name").await.unwrap();
        let name = rows[0].text("name").unwrap().to_owned();
        source.query("TRUNCATE \"Gone\"");
        let run = ["backup", "--json", "-d", &source.uri(), "--snapshot", &name];
        let refused = repository.run(run).code(1).stderr;
        for part in ["\\\"Gone\\\" was rewritten", "\"kind\":\"changed\"", "new snapshot"] {
            assert!(refused.contains(part), "{refused}");
        }
        let _ = repository.run(run.iter().chain(&["-T", "\"Gone\""])).ok();
        other.close().await;
    });
}

/// Who changes two tables in another order than a backup locks them waits for it, and it for him: the
/// server ends the wait of one. When that is the backup, it begins again behind him.
#[test]
fn a_backup_that_loses_a_deadlock_begins_again() {
    let server = Server::shared(18);
    let source = server.database();
    source.query("CREATE TABLE a AS SELECT 1 AS n; CREATE TABLE b AS SELECT 2 AS n");
    let mut holder = source.psql_command().stdin(Stdio::piped()).spawn().expect("psql");
    let mut input = holder.stdin.take().expect("a pipe");
    // Who looks for a deadlock first loses it: that is to be the backup.
    let begin = "SET deadlock_timeout = '1h'; BEGIN; ALTER TABLE b ADD m int;";
    writeln!(input, "{begin}").expect("psql to read");
    let locks = |granted: bool, mode: &str, table: &str| {
        format!(
            "SELECT count(*) FROM pg_locks WHERE relation = '{table}'::regclass \
             AND mode = '{mode}' AND granted = {granted}"
        )
    };
    eventually(&source, &locks(true, "AccessExclusiveLock", "b"), "1");
    let repository = repository();
    let mut backup = repository.command();
    let uri = format!("{}?options=-c%20deadlock_timeout%3D3s", source.uri());
    backup.args(["backup", "--json", "-d", &uri]).stdout(Stdio::piped());
    let backup = backup.stderr(Stdio::piped()).spawn().expect("pgkeep");
    eventually(&source, &locks(true, "AccessShareLock", "a"), "1");
    eventually(&source, &locks(false, "AccessShareLock", "b"), "1");
    writeln!(input, "ALTER TABLE a ADD m int; COMMIT;").expect("psql to read");
    drop(input);
    assert!(holder.wait().expect("psql to end").success());
    let done = backup.wait_with_output().expect("pgkeep to end");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let lost = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    eventually(&source, lost, "1");
    let copy = server.database();
    repository.restore(&copy.uri(), &[]);
    source.assert_same_rows(&copy);
}
