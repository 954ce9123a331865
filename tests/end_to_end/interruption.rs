//! Stopped at any moment, politely or not: the repository stays good, the server keeps no
//! session and no lock, and the next backup works.

use crate::faults::{Place, backup_options, local, open, silent};
use crate::logins::{block_on, settings};
use crate::sessions::eventually;
use crate::{platform, repository};
use pgkeep_engine::ErrorKind;
use pgkeep_engine::backup;
use pgkeep_engine::progress::interrupt;
use pgkeep_tests::{Database, Repository, Server};
use std::num::NonZeroUsize;
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

/// A condition whose first row lasts longer than any test.
const ENDLESS: &str = "pg_catalog.pg_sleep(600) IS NOT NULL";

/// Waits until a backup reads a row of that kind.
fn wait_for_endless_row(source: &Database<'_>) {
    let reads = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep' \
                 AND application_name LIKE 'pgkeep%' AND datname = current_database()";
    eventually(source, reads, "t");
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
        let mut command = repository.command();
        command.args(["backup", "--where", &format!("jobs={ENDLESS}")]);
        command.args(["-d", &source.uri()]).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        wait_for_endless_row(&source);
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

#[test]
fn a_backup_that_is_given_up_leaves_no_session_though_its_process_goes_on() {
    let source = platform(Server::shared(18), "0.1");
    let (place, to) = (Place::new(), settings(&source.uri()).unwrap());
    let mut options = backup_options();
    options.jobs = NonZeroUsize::new(3).unwrap();
    options.selection.row_filters = vec![("jobs".to_owned(), ENDLESS.to_owned())];
    let (interrupter, interrupt) = interrupt();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for_endless_row(&source);
            interrupter.interrupt();
        });
        block_on(async {
            let repository = open(local(&place.directory), &place.access).await.unwrap();
            let ended = backup::run(&repository, &to, &options, &silent(), interrupt).await;
            assert_eq!(ended.unwrap_err().kind(), ErrorKind::Interrupted);
            tokio::task::block_in_place(|| assert_no_session_stays(&source));
        });
    });
}
