//! The policies of docs/buckets.md, as they stand there, on a store that enforces them: what a
//! writer, a reader and a pruner can do, and what they cannot.

use crate::moments::{catch_up, dedicated_with, tables};
use crate::pgkeep;
use pgkeep_tests::{Moto, Repository, S3Access};

const DOCS: &str = include_str!("../../docs/buckets.md");

/// The policy below a heading of the docs, for our bucket.
fn policy(heading: &str) -> String {
    let (_, below) = DOCS.split_once(&format!("\n### {heading}\n")).expect("the heading");
    let (_, text) = below.split_once("```json\n").expect("a policy");
    let (text, _) = text.split_once("```").expect("its end");
    text.replace("arn:aws:s3:::acme-backups", "arn:aws:s3:::backups")
}

/// Whether the policy of `user` keeps it from all of this; it asks the store itself.
fn assert_refused(moto: &Moto, user: &S3Access, attempts: &[(&str, &str)]) {
    for (verb, key) in attempts {
        assert_eq!(moto.attempt(user, verb, key), "AccessDenied", "{verb} {key}");
    }
}

#[test]
fn each_policy_is_enough_for_its_work_and_for_nothing_else() {
    let server = dedicated_with(18, &[]);
    let source = server.database();
    source.load("platform.sql", &[("scale", "0.01")]);
    let moto = Moto::start();
    let [writer, reader, pruner] = ["Writer", "Reader", "Pruner"]
        .map(|heading| moto.user(&heading.to_lowercase(), &policy(heading)));
    moto.enforce();
    let mut repository = Repository::init_in(&pgkeep(), moto.owner(), "shop", &[]);
    let uri = source.uri();

    // The writer backs up and streams, with what others wrote and with what it wrote itself.
    repository.go_by(&writer);
    let _ = repository.run(["setup", "-q", "--keyless", "full", "-d", &uri]).code(0);
    let first = repository.backup(&uri, &[]);
    source.query("DELETE FROM jobs WHERE id % 3 = 0");
    catch_up(&repository, &source);
    source.query("UPDATE transactions SET description = md5(random()::text)");
    let second = repository.backup(&uri, &[]);
    assert!(second["new_chunks"].as_u64() < first["new_chunks"].as_u64(), "{second}");
    catch_up(&repository, &source);
    let keys = moto.objects();
    assert!(!keys.iter().any(|(key, _)| key.starts_with("shop/writers/")), "its leases are gone");
    let of = |folder: &str| {
        let folder = format!("shop/{folder}/");
        let key = keys.iter().map(|(key, _)| key).find(|key| key.starts_with(&folder));
        key.unwrap_or_else(|| panic!("nothing in {folder}")).clone()
    };
    let (pack, changes, backup, key) = (of("packs"), of("changes"), of("backups"), of("keys"));
    let (index, segment, config) = (of("indexes"), of("streams"), of("config"));
    assert_refused(&moto, &writer, &[("get", &pack), ("get", &changes), ("get", &key)]);
    for kept in [&pack, &changes, &backup, &key, &index, &segment, &config] {
        assert_refused(&moto, &writer, &[("delete", kept)]);
    }
    assert_refused(&moto, &writer, &[("put", &config), ("put", "shop/vouchers/x")]);
    let copy = server.database();
    let into = copy.uri();
    let refused = repository.run(["restore", "-q", "-d", &into]).code(1);
    assert!(refused.stderr.contains("HTTP 403"), "{}", refused.stderr);

    // The reader restores, to a moment too, and reads everything; it writes nothing.
    repository.go_by(&reader);
    repository.restore(&into, &["--to-latest"]);
    assert_eq!(tables(&copy), tables(&source));
    let _ = repository.run(["verify", "-q"]).ok();
    let refused = repository.run(["backup", "-q", "-d", &uri]).code(1);
    assert!(refused.stderr.contains("AccessDenied"), "{}", refused.stderr);
    for there in [&pack, &backup, &index] {
        assert_refused(&moto, &reader, &[("put", there), ("delete", there)]);
    }

    // The pruner forgets and prunes, and reads no key, with which packs could be opened.
    repository.go_by(&pruner);
    assert_refused(&moto, &pruner, &[("get", &key), ("delete", &key), ("delete", &config)]);
    assert_refused(&moto, &pruner, &[("put", &backup), ("put", &config), ("delete", &segment)]);
    let _ = repository.run_without_identity(&["forget", "-q", "--keep-last", "1"]).ok();
    let pruned = repository.prune(&[]);
    assert!(pruned["removed_packs"].as_u64() > Some(0), "{pruned}");
    assert_eq!(pruned["retained_packs"], 0);

    // A writer that prunes gets nothing away, is told so, and loses nothing.
    repository.go_by(moto.owner());
    let third = repository.backup(&uri, &[]);
    repository.go_by(&writer);
    let id = third["backup"].as_str().expect("an id");
    let forget = ["forget", "--json", id, "--last-too"];
    let refused = repository.run_without_identity(&forget).code(3).json();
    assert_eq!((&refused["retained"], &refused["forgotten"]), (&1.into(), &0.into()), "{refused}");

    repository.go_by(&reader);
    let copy = server.database();
    repository.restore(&copy.uri(), &[]);
    assert_eq!(tables(&copy), tables(&source));
    let _ = repository.run(["verify", "-q"]).ok();
}
