//! Standbys: a backup of one joins no stream, and says so; a stream goes on with a standby that was
//! promoted, or tells its gap.

use crate::moments::{catch_up, dedicated_with, now, tables};
use crate::repository;
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

#[test]
fn a_backup_of_a_standby_says_that_it_joins_no_stream_and_does_not() {
    let (primary, standby) = pair(18, &[]);
    let source = shop(&primary);
    source.query("CREATE TABLE t (n int PRIMARY KEY)");
    let repository = repository();
    let _ = repository.run(["setup", "-q", "-d", &source.uri()]).ok();
    replayed(&primary, &standby);
    let run = repository.run(["backup", "-d", &shop(&standby).uri()]).code(3);
    assert!(run.stderr.contains("joins no change stream"), "{}", run.stderr);
    catch_up(&repository, &source);
    let copy = primary.database();
    let run = repository.run(["restore", "-d", &copy.uri(), "--to-latest"]).code(1);
    assert!(run.stderr.contains("no backup leads to that moment"), "{}", run.stderr);
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
