//! A host that writes and does not read: its credential is made, used, stolen and revoked; and
//! the identity of those who read is replaced.

use crate::{pgkeep, platform, repository};
use pgkeep_tests::{Outcome, Repository, Server};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A host that has a credential and nothing else.
struct Host {
    home: tempfile::TempDir,
    repository: PathBuf,
}

impl Host {
    /// Makes the credential where the identity is, and moves it to the host.
    fn added(repository: &Repository, name: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let host = Self { home, repository: repository.directory() };
        let file = host.credential();
        let file = file.to_str().unwrap();
        let added = repository.run(["writer", "add", name, "--out", file, "--json"]).ok().json();
        assert_eq!(added["name"], name);
        let mode = Path::new(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        host
    }

    fn credential(&self) -> PathBuf {
        self.home.path().join("db1.writer")
    }

    fn command(&self) -> Command {
        let mut command = pgkeep().command(self.home.path());
        command.env("PGKEEP_REPO", &self.repository).env("PGKEEP_WRITER", self.credential());
        command
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(self.command().args(arguments))
    }
}

fn kind_of(outcome: &Outcome) -> Value {
    let line = outcome.stderr.lines().last().expect("an error");
    serde_json::from_str::<Value>(line).unwrap()["kind"].clone()
}

#[test]
fn a_host_that_only_writes_backs_up_and_reads_nothing() {
    let source = platform(Server::shared(18), "0.01");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let first = repository.size_bytes();
    let host = Host::added(&repository, "db1");
    let backup = host.run(&["backup", "--json", "-d", &source.uri()]).ok().json();
    let added = repository.size_bytes() - first;
    assert!(added < first / 10, "it finds what others stored: {added} bytes added to {first}");

    // What it wrote itself is closed to it as well.
    let copy = source.server().database();
    let id = backup["backup"].as_str().unwrap();
    for arguments in [
        vec!["restore", "--json", "--backup", id, "-d", &copy.uri()],
        vec!["ls", "--json", id],
        vec!["export", "--backup", id, "-o", "out.sql", "--json"],
    ] {
        let refused = host.run(&arguments).code(12);
        assert_eq!(kind_of(&refused), "wrong_key", "{}", refused.stderr);
    }
    let listed = host.run(&["list", "--json"]).ok().json();
    assert_eq!(listed["backups"][1]["databases"], Value::Null);
    // Nor does an identity file of its making help: it has the owner's public key only.
    let credential = std::fs::read_to_string(host.credential()).unwrap();
    let line = |name: &str| {
        let found = credential.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        found.trim().to_owned()
    };
    let made = format!(
        "# pgkeep repository: {}\n# pgkeep owner: {}\n",
        line("repository:"),
        line("owner:")
    );
    let file = host.home.path().join("made.identity");
    std::fs::write(&file, made).unwrap();
    let file = file.to_str().unwrap();
    let refused = host.run(&["ls", "--json", id, "--identity", file]).code(12);
    assert_eq!(kind_of(&refused), "wrong_key");

    repository.restore(&copy.uri(), &["--backup", id]);
    source.assert_same_rows(&copy);
    let _ = repository.run(["verify"]).ok();
}

#[test]
fn a_revoked_host_adds_nothing_and_its_backups_stay() {
    let source = platform(Server::shared(17), "0.005");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let host = Host::added(&repository, "db1");
    let before = host.run(&["backup", "--json", "-d", &source.uri()]).ok().json();
    let id = before["backup"].as_str().unwrap();

    let refused = repository.run(["writer", "revoke", "db1", "--distrust"]).code(2);
    assert!(refused.stderr.contains(&id[..8]), "{}", refused.stderr);
    let revoked = repository.run(["writer", "revoke", "db1", "--json"]).ok().json();
    assert_eq!(revoked["backups"], serde_json::json!([id]));

    let refused = host.run(&["backup", "--json", "-d", &source.uri()]).code(12);
    assert!(refused.stderr.contains("was revoked"), "{}", refused.stderr);
    let copy = source.server().database();
    repository.restore(&copy.uri(), &["--backup", id]);
    source.assert_same_rows(&copy);
    let _ = repository.run(["verify"]).ok();
    let list = repository.run(["writer", "list", "--json"]).ok().json();
    assert_eq!(list["writers"][1]["name"], "db1");
    assert_eq!(list["writers"][1]["backups"], 1);
    assert!(list["writers"][1]["revoked_at"].is_string());

    // A thief who puts the settings from before the revocation back goes on writing; who kept the
    // head is told.
    let head = repository.run(["list", "--json"]).ok().json()["head"].clone();
    let newest = repository.directory().join("config/00000003");
    let saved = std::fs::read(&newest).unwrap();
    std::fs::remove_file(&newest).unwrap();
    let forged = host.run(&["backup", "--json", "-d", &source.uri()]).ok().json();
    let pinned = head[0].as_str().unwrap();
    assert_eq!(pinned, "settings@3");
    let told = repository.run(["list", "--json", "--expect-head", pinned]).code(1);
    assert_eq!(kind_of(&told), "rolled_back");
    std::fs::write(&newest, saved).unwrap();
    let forged = forged["backup"].as_str().unwrap();
    let refused = repository
        .run(["restore", "--json", "--backup", forged, "--dry-run", "-d", &copy.uri()])
        .code(1);
    assert_eq!(kind_of(&refused), "untrusted");
}

#[test]
fn an_identity_is_replaced_and_the_old_one_reads_no_more() {
    let source = platform(Server::shared(18), "0.005");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let new = tempfile::tempdir().unwrap();
    let new = new.path().join("new.identity");
    let file = new.to_str().unwrap();
    let rotated = repository.run(["key", "rotate", "--identity-out", file, "--json"]).ok().json();
    assert_eq!(rotated["recipients"].as_array().unwrap().len(), 1);
    assert_eq!(rotated["identity_file"], file);
    repository.backup(&source.uri(), &[]);
    let copy = source.server().database();
    let refused = repository.run(["restore", "--json", "-d", &copy.uri()]).code(12);
    assert_eq!(kind_of(&refused), "wrong_key");
    let with_new = ["--identity", file];
    repository.restore(&copy.uri(), &with_new);
    source.assert_same_rows(&copy);
    let _ = repository.run(["verify", "--identity", file]).ok();

    let list = repository.run(["key", "list", "--json", "--identity", file]).ok().json();
    assert_eq!(
        (&list["recipients"], &list["other"]),
        (&rotated["recipients"], &Value::Array(vec![]))
    );
    let only = rotated["recipients"][0].as_str().unwrap();
    let refused = repository.run(["key", "remove", only, "--force", "--identity", file]).code(2);
    assert!(refused.stderr.contains("last recipient"), "{}", refused.stderr);
}

#[test]
fn a_backup_that_was_seen_and_is_gone_is_told() {
    let source = platform(Server::shared(18), "0.005");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let newest = repository.backup(&source.uri(), &[]);
    let head: Vec<&str> =
        newest["head"].as_array().unwrap().iter().map(|head| head.as_str().unwrap()).collect();
    assert_eq!(head[1], newest["backup"].as_str().unwrap());
    let mut pinned = vec!["--json"];
    head.iter().for_each(|head| pinned.extend(["--expect-head", head]));
    let copy = source.server().database();
    let uri = copy.uri();
    let commands: [&[&str]; 4] =
        [&["list"], &["verify"], &["show"], &["restore", "--dry-run", "-d", &uri]];
    for command in commands {
        let _ = repository.run(command.iter().chain(&pinned)).ok();
    }
    std::fs::remove_file(repository.directory().join("backups").join(head[1])).unwrap();
    for command in commands {
        let told = repository.run(command.iter().chain(&pinned)).code(1);
        assert_eq!(kind_of(&told), "rolled_back", "{command:?}");
    }
}
