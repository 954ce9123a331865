//! What becomes of a repository that was damaged: what is lost is told, the rest is restored where
//! asked, repair and the next backup mend it, and a copy elsewhere is whole.

use crate::repository;
use pgkeep_tests::{Database, Repository, Server};
use serde_json::Value;
use std::path::PathBuf;

/// One table of some ten chunks, and a small one.
fn source(server: &Server) -> Database<'_> {
    let source = server.database();
    source.query(
        "CREATE TABLE large (n int PRIMARY KEY, v text);
         INSERT INTO large SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 30000) i;
         CREATE TABLE small (n int PRIMARY KEY); INSERT INTO small VALUES (1), (2)",
    );
    source
}

fn packs(repository: &Repository) -> Vec<PathBuf> {
    let folder = repository.directory().join("packs");
    repository.files().into_iter().filter(|file| file.starts_with(&folder)).collect()
}

/// Changes a byte in the middle of the largest pack, which is one of rows.
fn damage(repository: &Repository) {
    let len = |file: &PathBuf| file.metadata().unwrap().len();
    let pack = packs(repository).into_iter().max_by_key(len).unwrap();
    let mut bytes = std::fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn damage_is_told_by_its_rows_restored_around_and_mended() {
    let server = Server::shared(18);
    let source = source(server);
    let repository = repository();
    let first = repository.backup(&source.uri(), &[]);
    damage(&repository);

    let report = repository.run(["verify", "--json"]).code(1).json();
    let problems = report["problems"].as_array().unwrap();
    let harmed = problems.iter().find(|problem| problem["rows"].is_object()).expect("rows");
    assert_eq!(harmed["table"], "public.large", "{report}");
    assert_eq!(harmed["backup"], first["backup"]);
    assert_eq!(harmed["rows"]["exact"], true);
    let (from, to) = (number(&harmed["rows"]["first"]), number(&harmed["rows"]["last"]));
    assert!(1 <= from && from < to && to <= 30_000, "{harmed}");
    let text = repository.run(["verify"]).code(1).stdout_text();
    assert!(text.contains("of table public.large of database"), "{text}");

    // Without the option the restore fails and names it.
    let refused = server.database();
    let outcome = repository.run(["restore", "-d", &refused.uri()]).code(1);
    assert!(outcome.stderr.contains("--allow-damage"), "{}", outcome.stderr);

    // With it, exactly the rows that verify told are missing.
    let copy = server.database();
    let outcome =
        repository.run(["restore", "--json", "--allow-damage", "-d", &copy.uri()]).code(3);
    let missing = &outcome.json()["databases"][0]["missing"][0];
    assert_eq!(missing["table"], "public.large");
    assert_eq!(number(&missing["rows"]), to - from + 1);
    assert_eq!(missing["spans"][0]["rows"], harmed["rows"]);
    let left = copy.query("SELECT count(*) FROM large").trim_end().to_owned();
    assert_eq!(left, (30_000 - (to - from + 1)).to_string());
    assert_eq!(copy.query("SELECT count(*) FROM small").trim_end(), "2");

    // An export does the same.
    let export = ["export", "-t", "large", "--format", "csv"];
    let _ = repository.run(export).code(1);
    let csv = repository.run(export.iter().chain(&["--allow-damage"])).code(3);
    let lines = csv.stdout.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert_eq!(lines, 1 + 30_000 - (to - from + 1));

    // The backup after a repair stores again what was lost; the first one is whole with it.
    let dry = repository.run(["repair", "packs", "--dry-run", "--json"]).code(3).json();
    assert_eq!(dry["damaged"].as_array().unwrap().len(), 1);
    let done = repository.run(["repair", "packs", "--json"]).code(3).json();
    assert_eq!(done["lost"], dry["lost"]);
    assert_eq!(done["harmed"][0]["backup"], first["backup"]);
    let next = repository.backup(&source.uri(), &[]);
    assert!(number(&next["new_chunks"]) >= 1, "{next}");
    let _ = repository.run(["verify"]).ok();
    let whole = server.database();
    repository.restore(&whole.uri(), &["--backup", first["backup"].as_str().unwrap()]);
    source.assert_same_rows(&whole);
}

#[test]
fn lost_indexes_are_made_again() {
    let source = source(Server::shared(18));
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let indexes = repository.directory().join("indexes");
    for file in repository.files().iter().filter(|file| file.starts_with(&indexes)) {
        std::fs::remove_file(file).unwrap();
    }
    let done = repository.run(["repair", "index", "--json"]).ok().json();
    assert_eq!(done["indexed"].as_array().unwrap().len(), packs(&repository).len());
    let next = repository.backup(&source.uri(), &[]);
    assert!(number(&next["new_chunks"]) <= 2, "{next}");
    let _ = repository.run(["verify"]).ok();
}

#[test]
fn a_share_of_the_packs_is_verified_and_said() {
    let source = source(Server::shared(18));
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let none = repository.run(["verify", "--json", "--read-percent", "0"]).ok().json();
    assert_eq!((&none["packs"]["read"], &none["chunks"]), (&0.into(), &0.into()));
    assert!(number(&none["looked_up"]) > 5, "{none}");
    let all = repository.run(["verify", "--json", "--budget", "10m", "--keyless"]).ok().json();
    assert_eq!(all["packs"]["read"], all["packs"]["all"]);
    assert_eq!((&all["level"], &all["looked_up"]), (&"checksums".into(), &0.into()));
}

#[test]
fn a_copy_elsewhere_restores_the_same_and_is_copied_once() {
    let server = Server::shared(18);
    let source = source(server);
    let (near, far) = (repository(), repository());
    let first = near.backup(&source.uri(), &["--tag", "reason=test"]);
    let copy = |options: &[&str]| {
        let mut command = far.command();
        command.args(["copy", "--json", "--from"]).arg(near.directory());
        command.arg("--from-identity").arg(near.identity()).args(options);
        // The environment names the target's identity, which the source is not read with.
        pgkeep_tests::Outcome::of(&mut command).ok().json()
    };
    let done = copy(&[]);
    assert_eq!(done["copied"][0]["backup"], first["backup"], "{done}");
    let size = far.size_bytes();
    assert_eq!(copy(&["--backup", "latest"])["already"][0], first["backup"]);
    assert_eq!(far.size_bytes(), size);
    let _ = far.run(["verify"]).ok();
    let restored = server.database();
    far.restore(&restored.uri(), &[]);
    source.assert_same_rows(&restored);
    let shown = far.run(["show", "--json"]).ok().json();
    assert_eq!((&shown["tags"]["reason"], &shown["lsn"]), (&"test".into(), &first["lsn"]));
}
