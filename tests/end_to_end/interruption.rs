//! Stopped at any moment, politely or not: the repository stays good, the server keeps no
//! session and no lock, and the next backup works.

use crate::sessions::eventually;
use crate::{platform, repository};
use pgkeep_tests::{Database, Repository, Server};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Runs the program and sends it a signal after a while; how it ended.
fn stopped(command: &mut Command, signal: &str, after: Duration) -> ExitStatus {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    let id = child.id().to_string();
    let _ = Command::new("kill").args([signal, &id]).stderr(Stdio::null()).status();
    child.wait().unwrap()
}

/// Waits until the server has no session in the database but our own.
#[track_caller]
fn assert_no_session_stays(database: &Database<'_>) {
    let others = format!(
        "SELECT pid, state, query FROM pg_stat_activity WHERE datname = '{}'",
        database.name()
    );
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let sessions = database.server().query(&others);
        if sessions.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "sessions stay: {sessions}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How long an undisturbed backup takes, so that the signals fall into all of it.
fn time_of_backup(source: &Database<'_>) -> Duration {
    let repository = repository();
    let start = Instant::now();
    repository.backup(&source.uri(), &[]);
    start.elapsed()
}

fn assert_backups_survive(signal: &str, number: i32) {
    let source = platform(Server::shared(18), "0.1");
    let whole = time_of_backup(&source);
    let repository = repository();
    let mut interrupted = 0;
    for tenth in 0..10 {
        let mut command = repository.command();
        command.args(["backup", "-d", &source.uri()]);
        let status = stopped(&mut command, signal, whole * tenth / 10);
        if !status.success() {
            let polite = status.code() == Some(130) && number != 9;
            assert!(polite || status.signal() == Some(number), "{status:?}");
            interrupted += 1;
        }
        assert_no_session_stays(&source);
        let _ = repository.run(["verify"]).ok();
    }
    assert!(interrupted > 3, "only {interrupted} of 10 backups were interrupted");
    assert_next_backup_works(&repository, &source);
}

fn assert_next_backup_works(repository: &Repository, source: &Database<'_>) {
    repository.backup(&source.uri(), &[]);
    let copy = source.server().database();
    repository.restore(&copy.uri(), &[]);
    source.assert_same_rows(&copy);
    let _ = repository.run(["verify"]).ok();
}

#[test]
fn interrupted_backup_leaves_a_good_repository() {
    assert_backups_survive("-INT", 2);
}

#[test]
fn terminated_backup_leaves_a_good_repository() {
    assert_backups_survive("-TERM", 15);
}

#[test]
fn killed_backup_leaves_a_good_repository() {
    assert_backups_survive("-KILL", 9);
}

#[test]
fn interrupted_restore_can_be_done_again() {
    let source = platform(Server::shared(17), "0.1");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = source.server().database();
    for (signal, milliseconds) in [("-INT", 300), ("-TERM", 600), ("-KILL", 900)] {
        let mut command = repository.command();
        command.args(["restore", "--clean", "--if-exists", "-d", &copy.uri()]);
        let _ = stopped(&mut command, signal, Duration::from_millis(milliseconds));
        assert_no_session_stays(&copy);
    }
    repository.restore(&copy.uri(), &["--clean", "--if-exists"]);
    source.assert_same_rows(&copy);
    source.assert_same_schema(&copy);
}

#[test]
fn killed_server_is_an_error_and_the_next_backup_works() {
    let mut server = Server::dedicated(18, &pgkeep_tests::Dedicated::default());
    let repository = repository();
    let (name, child) = {
        let source = platform(&server, "0.1");
        // The first row of this table lasts for as long as the server does.
        let mut command = repository.command();
        command.args(["backup", "--where", "jobs=pg_catalog.pg_sleep(600) IS NOT NULL"]);
        command.args(["-d", &source.uri()]).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let reads = "SELECT count(*) > 0 FROM pg_stat_activity \
                     WHERE wait_event = 'PgSleep' AND application_name LIKE 'pgkeep%'";
        eventually(&source, reads, "t");
        let name = source.name().to_owned();
        // Kept when the handle goes: the server is about to.
        std::mem::forget(source);
        (name, child)
    };
    server.kill();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    server.restart();
    let _ = repository.run(["verify"]).ok();
    let source = Database::adopt(&server, &name);
    assert_next_backup_works(&repository, &source);
}
