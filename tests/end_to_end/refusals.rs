//! What cannot be done is refused with an error that says what is the matter and what to do,
//! and the exit code that the documentation promises.

use crate::{pgkeep, platform, repository};
use pgkeep_tests::{Dedicated, Outcome, Pgkeep, Repository, Server, every_major};
use std::process::{Command, Stdio};
use std::time::Duration;

every_major!(role_without_rights_is_told_of_each_table, held_lock_is_named_with_its_holder);

fn role_without_rights_is_told_of_each_table(server: &Server) {
    let source = server.database();
    source.query(
        "DO $$ BEGIN CREATE ROLE reads_little LOGIN;
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
         CREATE TABLE allowed (id int); CREATE TABLE hidden_one (id int);
         CREATE SCHEMA closed; CREATE TABLE closed.hidden_two (id int); CREATE SEQUENCE hidden_three;
         GRANT SELECT ON allowed TO reads_little",
    );
    let uri = source.uri_of("reads_little");
    let repository = repository();
    let refused = repository.run(["backup", "-d", &uri]).code(1);
    for hidden in ["hidden_one", "closed.hidden_two"] {
        assert!(refused.stderr.contains(hidden), "{hidden} is not named: {}", refused.stderr);
    }
    assert!(!refused.stderr.contains("allowed"), "{}", refused.stderr);
    // Only what it may read is a backup that works.
    repository.backup(&uri, &["-t", "allowed"]);
}

#[test]
fn row_security_is_an_error_and_never_a_smaller_backup() {
    let source = Server::shared(18).database();
    source.query(
        "DO $$ BEGIN CREATE ROLE sees_some LOGIN;
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
         CREATE TABLE guarded AS SELECT i AS id FROM generate_series(1, 10) i;
         ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
         CREATE POLICY part ON guarded USING (id < 5); GRANT SELECT ON guarded TO sees_some",
    );
    let refused = repository().run(["backup", "-d", &source.uri_of("sees_some")]).code(1);
    assert!(refused.stderr.contains("guarded"), "{}", refused.stderr);
}

fn held_lock_is_named_with_its_holder(server: &Server) {
    let source = server.database();
    source.query("CREATE TABLE locked (id int); CREATE TABLE free (id int)");
    let mut psql = source.psql_command();
    let script = "BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(120)";
    let mut holder = psql.args(["-c", script]).stdout(Stdio::null()).spawn().unwrap();
    let sleeping = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'PgSleep'",
        source.name()
    );
    let pid = loop {
        let pid = server.query(&sleeping).trim().to_owned();
        if !pid.is_empty() {
            break pid;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let refused = repository().run(["backup", "-d", &source.uri(), "--lock-timeout", "1s"]);
    holder.kill().unwrap();
    holder.wait().unwrap();
    let refused = refused.code(1);
    for told in ["locked", &pid, "LOCK TABLE"] {
        assert!(refused.stderr.contains(told), "{told} is not named: {}", refused.stderr);
    }
}

#[test]
fn server_of_an_unsupported_version_is_refused_as_such() {
    let old = Server::too_old();
    assert!(old.query("SHOW server_version").starts_with("13."));
    let (source, empty) = (platform(Server::shared(18), "0.001"), old.database());
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    for command in ["backup", "restore"] {
        let refused = repository.run([command, "-d", &empty.uri()]).code(1);
        assert!(refused.stderr.contains("13"), "{}", refused.stderr);
        assert!(refused.stderr.contains("14"), "no hint at what is supported: {}", refused.stderr);
    }
}

#[test]
fn table_cannot_be_dropped_while_it_is_backed_up() {
    let source = platform(Server::shared(17), "0.5");
    let repository = repository();
    let mut command = repository.command();
    let mut backup = command.args(["backup", "-q", "-d", &source.uri()]).spawn().unwrap();
    let locks = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
                 WHERE relation = 'jobs'::regclass AND granted AND application_name ~ '^pgkeep'";
    while source.query(locks) == "0\n" {
        assert_eq!(backup.try_wait().unwrap(), None, "the backup ended without a lock");
    }
    let refused = source.query_error("SET lock_timeout = '10ms'; DROP TABLE jobs CASCADE");
    assert!(refused.contains("lock timeout"), "{refused}");
    assert!(backup.wait().unwrap().success());
    // Afterwards nothing holds it.
    source.query("SET lock_timeout = '5s'; DROP TABLE jobs CASCADE");
    let copy = source.server().database();
    repository.restore(&copy.uri(), &[]);
    assert_eq!(copy.query("SELECT count(*) FROM jobs"), "150000\n");
}

#[test]
fn missing_repository_has_its_own_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let uri = Server::shared(18).uri("postgres");
    for arguments in [
        vec!["list", "--repo", nowhere],
        vec!["verify", "--repo", nowhere],
        vec!["backup", "--repo", nowhere, "-d", &uri],
        vec!["restore", "--repo", nowhere, "-d", &uri],
    ] {
        let refused = pgkeep().run(&arguments).code(10);
        assert!(refused.stderr.contains(nowhere), "{arguments:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("pgkeep init"), "no hint: {}", refused.stderr);
    }
}

#[test]
fn repository_is_not_made_twice_nor_over_files() {
    let repository = repository();
    let directory = repository.directory();
    let (directory, files) = (directory.to_str().unwrap(), repository.files());
    let folder = tempfile::tempdir().unwrap();
    let identity = folder.path().join("other");
    let identity = identity.to_str().unwrap();
    let _ = pgkeep().run(["init", "--repo", directory, "--identity-out", identity]).code(1);
    assert_eq!(repository.files(), files);
    std::fs::write(folder.path().join("precious"), "mine").unwrap();
    let here = folder.path().to_str().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let identity = elsewhere.path().join("identity");
    let identity = identity.to_str().unwrap();
    let _ = pgkeep().run(["init", "--repo", here, "--identity-out", identity]).code(1);
    assert_eq!(std::fs::read_to_string(folder.path().join("precious")).unwrap(), "mine");
}

#[test]
fn identity_is_private_and_outside_of_the_repository() {
    use std::os::unix::fs::PermissionsExt;
    let repository = repository();
    let identity = repository.identity();
    assert_eq!(identity.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&identity).unwrap();
    let secret =
        text.lines().find(|line| line.contains("AGE-SECRET-KEY-1")).expect("an age identity");
    for file in repository.files() {
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{} holds the identity", file.display());
    }
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("repository");
    let inside_identity = inside.join("identity");
    let refused = pgkeep().run([
        "init".as_ref(),
        "--repo".as_ref(),
        inside.as_os_str(),
        "--identity-out".as_ref(),
        inside_identity.as_os_str(),
    ]);
    assert_ne!(refused.status.code(), Some(0), "the key lies beside the lock");
}

fn with_identity(pgkeep: &Pgkeep, repository: &Repository, identity: &std::path::Path) -> Command {
    let mut command = pgkeep.command(identity.parent().unwrap());
    command.env("PGKEEP_REPO", repository.directory()).env("PGKEEP_IDENTITY", identity);
    command
}

#[test]
fn wrong_identity_has_its_own_exit_code() {
    let source = platform(Server::shared(18), "0.001");
    let (ours, theirs) = (repository(), repository());
    ours.backup(&source.uri(), &[]);
    let copy = source.server().database();
    let uri = copy.uri();
    for arguments in [vec!["restore", "-d", uri.as_str()], vec!["ls", "latest"]] {
        let mut command = with_identity(&pgkeep(), &ours, &theirs.identity());
        let refused = Outcome::of(command.args(&arguments)).code(12);
        assert!(!refused.stderr.contains("panicked"), "{}", refused.stderr);
    }
    let none = tempfile::tempdir().unwrap();
    let mut command = with_identity(&pgkeep(), &ours, &none.path().join("identity"));
    let refused = Outcome::of(command.args(["restore", "-d", &uri]));
    assert!(matches!(refused.status.code(), Some(1 | 12)), "{refused:?}");
}

#[test]
fn nothing_of_the_database_can_be_read_in_the_repository() {
    let source = Server::shared(18).database();
    source.query(
        "CREATE TABLE table_of_secrets (column_of_secrets text);
         INSERT INTO table_of_secrets VALUES ('row_of_secrets')",
    );
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    for file in repository.files() {
        let bytes = std::fs::read(&file).unwrap();
        for word in ["table_of_secrets", "column_of_secrets", "row_of_secrets", source.name()] {
            let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!found, "{} tells {word}", file.display());
        }
    }
}

#[test]
fn misspelt_command_lines_are_a_question_of_usage() {
    for arguments in
        [&["no-such-command"][..], &["backup", "--no-such-option"], &["restore", "-j", "x"]]
    {
        let _ = pgkeep().run(arguments).code(2);
    }
}

#[test]
fn unencrypted_repository_must_be_asked_for_and_works() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("plain");
    let directory = directory.to_str().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = pgkeep().command(folder.path());
        Outcome::of(command.env("PGKEEP_REPO", directory).args(arguments)).ok()
    };
    let _ = run(&["init", "--no-encryption"]);
    let source = platform(Server::shared(18), "0.002");
    let copy = source.server().database();
    let _ = run(&["backup", "-d", &source.uri()]);
    let _ = run(&["restore", "-d", &copy.uri()]);
    source.assert_same_rows(&copy);
}

/// A small file system in memory, which only root may mount.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(megabytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m,mode=0777");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path());
        let status = mount.status().unwrap();
        assert!(status.success(), "a full disk is tested on a mount of its own, which needs root");
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn full_disk_of_the_repository_is_told_and_leaves_it_good() {
    let source = platform(Server::shared(18), "0.2");
    let disk = SmallDisk::mount(2);
    let repository = disk.0.path().join("repository");
    let home = tempfile::tempdir().unwrap();
    let identity = home.path().join("identity");
    let run = |arguments: &[&str]| {
        let mut command = pgkeep().command(home.path());
        command.env("PGKEEP_REPO", &repository).env("PGKEEP_IDENTITY", &identity);
        Outcome::of(command.args(arguments))
    };
    let _ = run(&["init", "--identity-out", identity.to_str().unwrap()]).ok();
    source.query("CREATE TABLE small AS SELECT 1 AS id");
    let _ = run(&["backup", "-d", &source.uri(), "-t", "small"]).ok();
    let refused = run(&["backup", "-d", &source.uri()]).code(1);
    assert!(
        refused.stderr.contains("space") || refused.stderr.contains("full"),
        "{}",
        refused.stderr
    );
    let _ = run(&["verify"]).ok();
    let copy = source.server().database();
    let _ = run(&["restore", "-d", &copy.uri()]).ok();
    assert_eq!(copy.query("SELECT id FROM small"), "1\n");
}

#[test]
fn full_disk_of_the_server_is_told_with_the_table() {
    let source = platform(Server::shared(18), "0.3");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let disk = SmallDisk::mount(90);
    let options = Dedicated { directory: Some(disk.0.path()), ..Default::default() };
    let server = Server::dedicated(18, &options);
    server.query("CREATE ROLE app_owner; CREATE ROLE app_admin; CREATE ROLE app_user");
    let copy = server.database();
    let refused = repository.run(["restore", "-d", &copy.uri()]).code(1);
    assert!(refused.stderr.contains("No space left"), "{}", refused.stderr);
}
