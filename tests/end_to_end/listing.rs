//! What a repository tells of its backups: `list`, `show`, `ls`, and the JSON of every
//! command, as docs/cli-contract.md promises it.

use crate::{pgkeep, platform, repository};
use pgkeep_tests::{Database, Outcome, Repository, Server};
use serde_json::Value;

/// A repository with two backups of the platform.
fn two_backups<'a>(server: &'a Server) -> (Repository, Database<'a>, Vec<Value>) {
    let source = platform(server, "0.005");
    let repository = repository();
    let first = repository.backup(&source.uri(), &["--tag", "release=1.0"]);
    source.query("DELETE FROM schedules");
    let second = repository.backup(&source.uri(), &["--tag", "release=1.1", "--tag", "night=yes"]);
    (repository, source, vec![first, second])
}

#[test]
fn list_tells_all_backups_oldest_first() {
    let (repository, source, made) = two_backups(Server::shared(18));
    let list = repository.run(["list", "--json"]).ok().json();
    let backups = list["backups"].as_array().unwrap();
    let ids: Vec<_> = backups.iter().map(|backup| &backup["id"]).collect();
    assert_eq!(ids, made.iter().map(|backup| &backup["backup"]).collect::<Vec<_>>());
    assert_eq!(backups[0]["tags"]["release"], "1.0");
    assert_eq!(backups[1]["tags"]["night"], "yes");
    assert_eq!(backups[1]["databases"][0], source.name());
    assert_eq!(backups[1]["server_version"].as_u64().unwrap() / 10_000, 18);
    let rows = |backup: &Value| backup["rows"].as_u64().unwrap();
    assert_eq!(rows(&backups[0]) - rows(&backups[1]), 50);
    let text = repository.run(["list"]).ok().stdout_text();
    assert!(text.contains(source.name()) && text.contains("release=1.1"), "{text}");
}

#[test]
fn list_without_the_identity_keeps_names_sealed() {
    let (repository, source, _) = two_backups(Server::shared(17));
    let home = tempfile::tempdir().unwrap();
    let mut command = pgkeep().command(home.path());
    command.env("PGKEEP_REPO", repository.directory());
    let list = Outcome::of(command.args(["list", "--json"])).ok();
    assert!(!list.stdout_text().contains(source.name()));
    let list = list.json();
    assert_eq!(list["backups"].as_array().unwrap().len(), 2);
    assert_eq!(list["backups"][0]["databases"], Value::Null);
}

#[test]
fn ls_tells_each_table_with_the_rows_that_it_has() {
    let (repository, source, _) = two_backups(Server::shared(16));
    let listing = repository.run(["ls", "latest", "--json"]).ok().json();
    let objects = listing["objects"].as_array().unwrap();
    let rows_of = |schema: &str, name: &str| {
        let mut with_rows = objects.iter().filter(|object| object["rows"].is_u64());
        let found = with_rows.find(|object| object["schema"] == schema && object["name"] == name);
        found.unwrap_or_else(|| panic!("no rows of {schema}.{name}"))["rows"].as_u64().unwrap()
    };
    for (name, digest) in source.digests() {
        let count = u64::try_from(digest.rows).unwrap();
        if let Some((schema, table)) = name.split_once('.')
            && !table.ends_with("_seq")
            && !table.ends_with("_totals")
        {
            assert_eq!(rows_of(schema, table), count, "{name}");
        }
    }
    let text = repository.run(["ls"]).ok().stdout_text();
    assert!(text.contains("jobs") && text.contains("members"), "{text}");
}

#[test]
fn backup_is_named_by_the_first_digits_of_its_id() {
    let (repository, _, made) = two_backups(Server::shared(15));
    let id = made[0]["backup"].as_str().unwrap();
    let shown = repository.run(["show", &id[..8], "--json"]).ok().json();
    assert_eq!(shown["id"], id);
    let latest = repository.run(["show", "--json"]).ok().json();
    assert_eq!(latest["id"], made[1]["backup"]);
    let unknown = repository.run(["show", "ffffffffffff"]).code(1);
    assert!(unknown.stderr.contains("ffffffffffff"), "{}", unknown.stderr);
}

#[test]
fn json_is_all_that_standard_output_holds_and_errors_are_json_too() {
    let (repository, source, _) = two_backups(Server::shared(18));
    let copy = source.server().database();
    let (from, to) = (source.uri(), copy.uri());
    for arguments in [
        vec!["backup", "--json", "-d", &from],
        vec!["restore", "--json", "-d", &to],
        vec!["verify", "--json"],
        vec!["list", "--json"],
        vec!["show", "--json"],
        vec!["ls", "--json"],
    ] {
        let outcome = repository.run(&arguments).ok();
        let text = outcome.stdout_text();
        let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        for value in values {
            assert!(value.unwrap().is_object(), "{arguments:?}: {text}");
        }
    }
    let refused = repository.run(["restore", "--json", "-d", &to]).code(1);
    let error = refused.stderr.lines().last().expect("an error");
    let error: Value = serde_json::from_str(error).unwrap();
    assert_eq!(error["message_type"], "error");
    assert_eq!(error["kind"], "already_exists");
    assert_eq!(error["exit_code"], 1);
    assert!(!error["hints"].as_array().unwrap().is_empty());
}

#[test]
fn quiet_says_nothing_when_all_is_well() {
    let source = platform(Server::shared(18), "0.002");
    let repository = repository();
    for arguments in [vec!["backup", "-q", "-d", &source.uri()], vec!["verify", "--quiet"]] {
        let outcome = repository.run(&arguments).ok();
        assert_eq!((outcome.stdout_text(), outcome.stderr), (String::new(), String::new()));
    }
}
