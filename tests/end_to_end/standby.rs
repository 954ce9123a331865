//! Standbys: a backup of one joins the stream of its primary without a seam; a stream goes on with
//! a standby that was promoted, or tells its gap.

use crate::change_stream::{Workload, script};
use crate::logins::{block_on, settings};
use crate::moments::{TABLES, catch_up, dedicated_with, now, tables};
use crate::repository;
use pgkeep_engine::postgres::{Snapshot, SnapshotOptions};
use pgkeep_tests::{Database, Repository, Server};
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

/// The database of the tests on one of the servers, which may be gone when it is dropped.
fn shop(server: &Server) -> ManuallyDrop<Database<'_>> {
    ManuallyDrop::new(Database::adopt(server, "shop"))
}

/// A primary with the database, and its standby.
fn pair(major: u32, settings: &[(&str, &str)]) -> (Server, Server) {
    let mut primary = dedicated_with(major, &[]);
    primary.query("CREATE DATABASE shop");
    if settings.iter().any(|(name, _)| *name == "primary_slot_name") {
        primary.query("SELECT pg_create_physical_replication_slot('standby')");
    }
    let standby = primary.standby(settings);
    (primary, standby)
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a standby has all that its primary has.
fn replayed(primary: &Server, standby: &Server) {
    let lsn = primary.query("SELECT pg_current_wal_flush_lsn()");
    let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{}'", lsn.trim());
    wait_until("the standby to catch up", || standby.query(&sql).trim() == "t");
}

/// Of a transaction whose subtransaction was the first to write, a standby counts snapshots beside
/// it as overflowed, and does not export that it runs. The later commit puts it among those that
/// a snapshot has to name.
const PREPARE: &str = "BEGIN; SAVEPOINT s; INSERT INTO t VALUES (1); RELEASE s; \
                       PREPARE TRANSACTION 'p'; CREATE VIEW later AS SELECT 1";

fn sessions_of_a_standby_see_the_same(major: u32) {
    let (primary, standby) = pair(major, &[]);
    let source = shop(&primary);
    source.query("CREATE TABLE t (n int)");
    source.query(PREPARE);
    replayed(&primary, &standby);
    block_on(async {
        let settings = settings(&shop(&standby).uri()).unwrap();
        let options = SnapshotOptions { readers: 2, ..SnapshotOptions::default() };
        let snapshot = Snapshot::open(&settings, &options).await.unwrap();
        assert!(snapshot.replayed().unwrap() > 0);
        source.query("COMMIT PREPARED 'p'");
        replayed(&primary, &standby);
        let sql = "SELECT count(*) AS rows FROM public.t";
        for _ in 0..2 {
            let mut wire = snapshot.join().await.unwrap();
            assert_eq!(wire.query(sql).await.unwrap()[0].text("rows").unwrap(), "0");
        }
        assert!(snapshot.join().await.is_err());
        let rows = snapshot.session().query(sql).await.unwrap();
        assert_eq!(rows[0].text("rows").unwrap(), "0");
        snapshot.close().await.unwrap();
    });
    assert_eq!(shop(&standby).query("SELECT count(*) FROM t").trim(), "1");
}

#[test]
fn sessions_of_a_standby_see_the_same_on_postgresql_14() {
    sessions_of_a_standby_see_the_same(14);
}

#[test]
fn sessions_of_a_standby_see_the_same_on_postgresql_18() {
    sessions_of_a_standby_see_the_same(18);
}

fn a_backup_of_a_standby_has_no_seam(major: u32) {
    let (primary, standby) = pair(major, &[("hot_standby_feedback", "on")]);
    let source = shop(&primary);
    source.query(TABLES);
    let repository = repository();
    let _ = repository.run(["setup", "-q", "--keyless", "full", "-d", &source.uri()]).ok();
    // In progress at each backup, and committed after it.
    source.query("BEGIN; INSERT INTO app.jobs (note) VALUES ('prepared'); PREPARE TRANSACTION 'p'");
    replayed(&primary, &standby);
    // A standby ends queries that stand in the way of a TRUNCATE for too long.
    let scripts = (1..=3).map(|worker| {
        script(u64::from(major), worker, 400, false).replace("TRUNCATE", "DELETE FROM")
    });
    let workload = Workload::run(&source, scripts);
    let mut backups = Vec::new();
    for _ in 0..6 {
        let backup = repository.backup(&shop(&standby).uri(), &[]);
        assert_eq!(backup["warnings"].as_array().map(Vec::len), Some(0), "{backup}");
        backups.push(backup["backup"].as_str().expect("an id").to_owned());
    }
    source.query("COMMIT PREPARED 'p'");
    workload.end();
    assert_eq!(standby.query("SELECT pg_is_wal_replay_paused()").trim(), "f");
    catch_up(&repository, &source);
    let expected = tables(&source);
    for backup in &backups {
        let copy = primary.database();
        repository.restore(&copy.uri(), &["--to-latest", "--backup", backup]);
        assert_eq!(tables(&copy), expected, "from backup {backup}");
    }
}

#[test]
fn a_backup_of_a_standby_has_no_seam_on_postgresql_14() {
    a_backup_of_a_standby_has_no_seam(14);
}

#[test]
fn a_backup_of_a_standby_has_no_seam_on_postgresql_18() {
    a_backup_of_a_standby_has_no_seam(18);
}

#[test]
fn a_role_that_may_not_hold_replay_backs_up_a_standby_while_nothing_runs() {
    let (primary, standby) = pair(18, &[]);
    let source = shop(&primary);
    source.query("CREATE TABLE t (n int PRIMARY KEY)");
    source.query("CREATE ROLE reader LOGIN IN ROLE pg_read_all_data");
    let repository = repository();
    let _ = repository.run(["setup", "-q", "-d", &source.uri()]).ok();
    source.query(PREPARE);
    replayed(&primary, &standby);
    let reader = shop(&standby).uri_of("reader");
    let run = repository.run(["backup", "-d", &reader]).code(1);
    assert!(run.stderr.contains("the role may not hold replay"), "{}", run.stderr);
    assert!(run.stderr.contains("GRANT EXECUTE ON FUNCTION"), "{}", run.stderr);
    source.query("COMMIT PREPARED 'p'");
    replayed(&primary, &standby);
    let _ = repository.run(["backup", "-q", "-d", &reader]).ok();
    source.query("INSERT INTO t VALUES (2)");
    catch_up(&repository, &source);
    let copy = primary.database();
    repository.restore(&copy.uri(), &["--to-latest"]);
    assert_eq!(tables(&copy), tables(&source));
}

#[test]
fn replay_goes_on_when_a_backup_of_a_standby_is_killed() {
    let (primary, standby) = pair(18, &[]);
    shop(&primary).query("CREATE TABLE t (n int)");
    shop(&primary).query(PREPARE);
    replayed(&primary, &standby);
    let repository = repository();
    let mut killed = 0;
    for delay in (20..200).step_by(12) {
        let uri = shop(&standby).uri();
        let mut backup = repository.command().args(["backup", "-q", "-d", &uri]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        backup.kill().unwrap();
        backup.wait().unwrap();
        killed += u32::from(standby.query("SELECT pg_is_wal_replay_paused()").trim() == "t");
    }
    println!("killed while replay was held: {killed}");
    wait_until("replay to go on", || {
        standby.query("SELECT pg_get_wal_replay_pause_state()").trim() == "not paused"
    });
}

#[test]
fn a_promoted_standby_without_the_slot_leaves_a_gap_that_is_told() {
    let (mut primary, standby) = pair(14, &[]);
    shop(&primary).query("CREATE TABLE t (n int PRIMARY KEY)");
    let repository = repository();
    let _ = repository.run(["setup", "-q", "-d", &shop(&primary).uri()]).ok();
    repository.backup(&shop(&primary).uri(), &[]);
    shop(&primary).query("INSERT INTO t VALUES (1)");
    let before = now(&shop(&primary));
    catch_up(&repository, &shop(&primary));
    replayed(&primary, &standby);
    primary.kill();
    assert_eq!(standby.query("SELECT pg_promote()").trim(), "t");
    let promoted = shop(&standby);
    promoted.query("INSERT INTO t VALUES (2)");
    let run = repository.run(["stream", "--until-caught-up", "-d", &promoted.uri()]).code(3);
    assert!(run.stderr.contains("is not in the stream; take a backup now"), "{}", run.stderr);
    repository.backup(&promoted.uri(), &[]);
    promoted.query("INSERT INTO t VALUES (3)");
    catch_up(&repository, &promoted);
    let restored = |moment: &[&str]| {
        let copy = standby.database();
        repository.restore(&copy.uri(), moment);
        copy.query("SELECT string_agg(n::text, ' ' ORDER BY n) FROM t").trim().to_owned()
    };
    assert_eq!(restored(&["--to-latest"]), "1 2 3");
    assert_eq!(restored(&["--to-lsn", &before.lsn]), "1");
}

/// Settings of a standby that keeps slots of its primary.
const KEEPS_SLOTS: [(&str, &str); 2] =
    [("primary_slot_name", "standby"), ("hot_standby_feedback", "on")];

/// Waits until the standby has the slot: the primary's must be where the standby can begin.
fn kept(repository: &Repository, primary: &Server, standby: &Server) {
    wait_until("the slot to be kept on the standby", || {
        primary.query("SELECT pg_log_standby_snapshot()");
        catch_up(repository, &shop(primary));
        replayed(primary, standby);
        standby.query("SELECT pg_sync_replication_slots()");
        let sql = "SELECT count(*) FROM pg_replication_slots WHERE synced AND NOT temporary";
        standby.query(sql).trim() == "1"
    });
}

#[test]
fn a_promoted_standby_with_the_slot_goes_on_without_a_gap() {
    let (mut primary, standby) = pair(18, &KEEPS_SLOTS);
    shop(&primary).query("CREATE TABLE t (n int PRIMARY KEY)");
    let repository = repository();
    let _ = repository.run(["setup", "-q", "--failover", "-d", &shop(&primary).uri()]).ok();
    repository.backup(&shop(&primary).uri(), &[]);
    shop(&primary).query("INSERT INTO t VALUES (1)");
    kept(&repository, &primary, &standby);
    shop(&primary).query("INSERT INTO t VALUES (2)");
    replayed(&primary, &standby);
    primary.kill();
    assert_eq!(standby.query("SELECT pg_promote()").trim(), "t");
    let promoted = shop(&standby);
    promoted.query("INSERT INTO t VALUES (3)");
    catch_up(&repository, &promoted);
    let copy = standby.database();
    repository.restore(&copy.uri(), &["--to-latest"]);
    assert_eq!(tables(&copy), tables(&promoted));
    assert_eq!(copy.query("SELECT count(*) FROM t").trim(), "3");
    let listed = repository.run(["list", "--json"]).ok().json();
    assert_eq!(listed["windows"].as_array().map(Vec::len), Some(1), "{listed}");
}

#[test]
fn a_promoted_standby_that_lacks_what_was_streamed_does_not_go_on_as_if_it_had_it() {
    let (mut primary, mut standby) = pair(18, &KEEPS_SLOTS);
    shop(&primary).query("CREATE TABLE t (n int PRIMARY KEY)");
    let repository = repository();
    let _ = repository.run(["setup", "-q", "--failover", "-d", &shop(&primary).uri()]).ok();
    repository.backup(&shop(&primary).uri(), &[]);
    kept(&repository, &primary, &standby);
    standby.kill();
    // The standby never gets this, and the stream has it.
    shop(&primary).query("INSERT INTO t SELECT generate_series(1, 1000)");
    catch_up(&repository, &shop(&primary));
    primary.kill();
    standby.restart();
    assert_eq!(standby.query("SELECT pg_promote()").trim(), "t");
    let promoted = shop(&standby);
    promoted.query("INSERT INTO t VALUES (-1)");
    let run = repository.run(["stream", "--until-caught-up", "-d", &promoted.uri()]).code(3);
    assert!(run.stderr.contains("is on timeline 2 since"), "{}", run.stderr);
    repository.backup(&promoted.uri(), &[]);
    promoted.query("INSERT INTO t VALUES (-2)");
    catch_up(&repository, &promoted);
    let copy = standby.database();
    repository.restore(&copy.uri(), &["--to-latest"]);
    assert_eq!(tables(&copy), tables(&promoted));
}

#[test]
fn the_stream_of_another_server_is_refused_by_name() {
    let (one, other) = (dedicated_with(18, &[]), dedicated_with(17, &[]));
    let repository = repository();
    one.query("CREATE DATABASE shop");
    other.query("CREATE DATABASE shop");
    let _ = repository.run(["setup", "-q", "-d", &one.uri("shop")]).ok();
    let run = repository.run(["stream", "--until-caught-up", "-d", &other.uri("shop")]).code(1);
    let identifier = other.query("SELECT system_identifier FROM pg_control_system()");
    assert!(run.stderr.contains("no change stream of database \"shop\" of this server"));
    assert!(run.stderr.contains(identifier.trim()), "{}", run.stderr);
}

#[test]
fn a_long_transaction_is_named_and_much_kept_wal_is_shouted_about() {
    let server = dedicated_with(18, &[]);
    server.query("CREATE DATABASE shop");
    let source = shop(&server);
    source.query("CREATE TABLE t (n int PRIMARY KEY, body text)");
    let repository = repository();
    let mut idle = source.psql_command();
    let idle =
        idle.args(["-q", "-c", "BEGIN; INSERT INTO t VALUES (0); SELECT pg_sleep(9); COMMIT"]);
    let mut idle = idle.spawn().expect("psql");
    let began = "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND \
                 xact_start < now() - interval '6 seconds'";
    wait_until("a long transaction", || server.query(began).trim() == "1");
    let run = repository.run(["setup", "-d", &source.uri()]).code(3);
    assert!(run.stderr.contains("waits for the transaction of process"), "{}", run.stderr);
    idle.wait().expect("psql to end");
    source.query("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 9000) i");
    let stream = ["stream", "--until-caught-up", "--max-lag", "1MiB", "-d", &source.uri()];
    let run = repository.run(stream).code(3);
    assert_eq!(run.stderr.matches("bytes of WAL on the server, more than").count(), 1);
}

#[test]
fn databases_of_one_name_of_two_servers_are_told_apart() {
    let servers = [dedicated_with(17, &[]), dedicated_with(18, &[])];
    let repository = repository();
    let mut ends = Vec::new();
    for (number, server) in servers.iter().enumerate() {
        server.query("CREATE DATABASE shop");
        let source = shop(server);
        source.query("CREATE TABLE t (n int PRIMARY KEY)");
        let _ = repository.run(["setup", "-q", "-d", &source.uri()]).ok();
        repository.backup(&source.uri(), &[]);
        source.query(&format!("INSERT INTO t VALUES ({number})"));
        ends.push(source.query("SELECT clock_timestamp()").trim().to_owned());
        // Time is known up to the last commit.
        source.query("COMMENT ON TABLE t IS 'later'");
        catch_up(&repository, &source);
    }
    let restored = |arguments: &[&str]| {
        let copy = servers[1].database();
        repository.restore(&copy.uri(), arguments);
        copy.query("SELECT n FROM t").trim().to_owned()
    };
    assert_eq!(restored(&["--to-latest"]), "1");
    assert_eq!(restored(&["--to-time", &ends[0]]), "0");
    let listed = repository.run(["list", "--json"]).ok().json();
    let streams = listed["windows"].as_array().expect("windows").iter();
    let streams: Vec<_> = streams.map(|it| it["stream"].as_str().expect("an id")).collect();
    let each: Vec<_> =
        streams.iter().map(|id| restored(&["--to-latest", "--stream", &id[..8]])).collect();
    assert!(each.contains(&"0".to_owned()) && each.contains(&"1".to_owned()), "{each:?}");
    let run = repository.run(["log", "-t", "t"]).code(2);
    assert!(run.stderr.contains("--stream ID"), "{}", run.stderr);
    let run = repository.run(["log", "-t", "t", "--json", "--stream", streams[0]]).ok();
    assert!(run.stdout_text().contains("insert"), "{}", run.stdout_text());
}
