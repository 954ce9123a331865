//! What is asked of a bucket for the objects that are written: storage class, encryption, locks.

use crate::{pgkeep, platform};
use pgkeep_tests::{Moto, Repository, Server};
use serde_json::Value;

const ASKED: [(&str, &str); 5] = [
    ("PGKEEP_STORAGE_CLASS", "STANDARD_IA"),
    ("PGKEEP_SSE", "aws:kms"),
    ("PGKEEP_SSE_KMS_KEY_ID", "alias/backups"),
    ("PGKEEP_OBJECT_LOCK_MODE", "COMPLIANCE"),
    ("PGKEEP_OBJECT_LOCK_DAYS", "30"),
];

/// The folder of an object, which tells what it is.
fn folder(key: &str) -> &str {
    key.split('/').nth(1).expect("a folder")
}

#[test]
fn packs_get_a_class_and_all_but_leases_and_lists_a_lock() {
    let source = platform(Server::shared(18), "0.01");
    let moto = Moto::start_with_locks();
    let options = [
        "--storage-class",
        "STANDARD_IA",
        "--sse",
        "aws:kms",
        "--sse-kms-key-id",
        "alias/backups",
        "--object-lock-mode",
        "COMPLIANCE",
        "--object-lock-days",
        "30",
    ];
    let repository = Repository::init_in(&pgkeep(), moto.owner(), "shop", &options);
    // By options and by variables; and a run that is killed leaves its lease.
    repository.backup(&source.uri(), &options);
    source.query("UPDATE transactions SET description = md5(random()::text)");
    let mut command = repository.command();
    let by_variables = command.envs(ASKED).args(["backup", "-q", "-d", &source.uri()]).status();
    assert!(by_variables.expect("pgkeep").success());
    let objects = moto.objects();
    let mut folders = std::collections::BTreeSet::new();
    for (key, asked) in &objects {
        let folder = folder(key);
        folders.insert(folder);
        let is_pack = folder == "packs";
        assert_eq!(asked["class"], if is_pack { "STANDARD_IA" } else { "STANDARD" }, "{key}");
        assert_eq!(asked["encryption"], "aws:kms", "{key}");
        assert!(asked["key"].as_str().is_some_and(|id| id.contains("alias/backups")), "{key}");
        assert_eq!(asked["lock"], "COMPLIANCE", "{key}: {asked}");
        let days = asked["days"].as_f64().unwrap_or_default();
        assert!((29.9..30.1).contains(&days), "{key}: {days}");
    }
    let kinds: Vec<_> = folders.into_iter().collect();
    assert_eq!(kinds, ["backups", "config", "indexes", "keys", "packs"]);

    // A lock makes of every removal a mark that can be taken away: forget and prune do their work,
    // and every version that was locked is still there.
    let _ = repository.run(["forget", "-q", "--keep-last", "1"]).ok();
    let pruned = repository.prune(&[]);
    assert!(pruned["removed_packs"].as_u64() > Some(0), "{pruned}");
    let _ = repository.run(["verify", "-q"]).ok();
    let copy = source.server().database();
    repository.restore(&copy.uri(), &[]);
    source.assert_same_rows(&copy);
    // Nothing but leases, lists and marks can be removed for good.
    let locked = moto.purge();
    assert!(locked >= objects.len(), "{locked} versions stay, of {} objects", objects.len());
    let left = moto.objects();
    assert!(left.len() >= objects.len(), "what was removed is back when its mark is");
    let unlocked = |(_, asked): &&(String, Value)| asked["lock"].is_null();
    assert_eq!(left.iter().find(unlocked), None);
    repository.restore(&source.server().database().uri(), &[]);
}

#[test]
fn half_of_a_request_for_a_lock_is_refused() {
    let directory = crate::repository();
    let run = directory.run(["list", "--storage-class", "STANDARD_IA"]).code(2);
    assert!(run.stderr.contains("only a bucket has storage classes"), "{}", run.stderr);
    let half = ["list", "--repo", "s3://backups/shop", "--object-lock-days", "30"];
    let run = directory.run(half).code(2);
    assert!(run.stderr.contains("go together"), "{}", run.stderr);
}
