//! The engine on the published vectors of the format, which another program made from the
//! text: it computes the same ids, keys and signatures, reads the golden repositories, and
//! refuses each bad one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pgkeep_engine::progress::{Progress, Silent, interrupt};
use pgkeep_engine::repository::{Access, ChunkReader, Identity, Repository};
use pgkeep_engine::seal::{self, DataKey, Secrets, SigningKey};
use pgkeep_engine::store::{LocalStore, SingleFile, Store};
use pgkeep_engine::verify::{self, VerifyOptions, VerifyReport};
use pgkeep_engine::{Error, Result};
use pgkeep_format::entry::Entry;
use pgkeep_format::frame::{FrameHeader, FrameType, HEADER_LEN, Suite};
use pgkeep_format::id::{KeyId, VerifyKey};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn vectors(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../format-spec/vectors").join(path)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    let pair = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
    (0..hex.len() / 2).map(pair).collect()
}

fn array<const N: usize>(hex: &Value) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

fn secrets(seal: &Value) -> Secrets {
    Secrets { naming: array(&seal["naming_key"]), cut: [0; 32] }
}

fn frame_type(case: &Value) -> FrameType {
    FrameType::from_code(u8::try_from(case["frame_type"].as_u64().unwrap()).unwrap()).unwrap()
}

#[test]
fn chunks_get_the_published_ids() {
    let all = json(&vectors("seal.json"));
    let secrets = secrets(&all);
    let cases = all["chunk_ids"].as_array().unwrap();
    let short = cases.iter().filter(|case| case.get("plain").is_some());
    assert!(short.clone().count() >= 4);
    for case in short {
        let flags = u8::try_from(case["flags"].as_u64().unwrap()).unwrap();
        let id = seal::chunk_id(&secrets, frame_type(case), flags, &bytes(&case["plain"]));
        assert_eq!(id.to_string(), case["chunk_id"].as_str().unwrap());
    }
}

#[test]
fn the_published_frames_open_and_none_under_another_key() {
    let all = json(&vectors("seal.json"));
    let secrets = secrets(&all);
    let key = DataKey { id: KeyId(array(&all["key_id"])), key: array(&all["data_key"]) };
    let other = DataKey { id: key.id, key: [0; 32] };
    let mut suites = std::collections::BTreeSet::new();
    for case in all["frames"].as_array().unwrap() {
        let frame = bytes(&case["frame"]);
        let header = FrameHeader::decode(&frame).unwrap();
        let payload = &frame[HEADER_LEN..];
        suites.insert(header.suite as u8);
        let opened = seal::open(&header, payload, Some(&key), Some(&secrets)).unwrap();
        assert_eq!(opened.plain, bytes(&case["plain"]));
        assert_eq!(u64::from(opened.row_continues), case["flags"].as_u64().unwrap());
        if header.suite == Suite::None {
            continue;
        }
        assert!(seal::open(&header, payload, Some(&other), Some(&secrets)).is_err());
        for at in (0..payload.len()).step_by(3) {
            let mut changed = payload.to_vec();
            changed[at] ^= 0x10;
            assert!(seal::open(&header, &changed, Some(&key), Some(&secrets)).is_err(), "{at}");
        }
    }
    assert_eq!(suites.len(), 3);
}

#[test]
fn the_published_signatures_are_made_and_accepted() {
    for case in json(&vectors("seal.json"))["signatures"].as_array().unwrap() {
        let signing = SigningKey::from_seed(array(&case["seed"])).unwrap();
        let (message, signature) = (bytes(&case["message"]), array(&case["signature"]));
        let signer = VerifyKey(array(&case["public_key"]));
        assert_eq!(signing.verify_key(), signer);
        assert_eq!(signing.sign(&message), signature);
        assert!(seal::verify(signer, &message, &signature));
        assert!(!seal::verify(signer, &message[1..], &signature));
    }
}

fn store(path: &Path) -> Result<Arc<dyn Store>> {
    Ok(if path.is_dir() {
        Arc::new(LocalStore::open(path)?)
    } else {
        Arc::new(SingleFile::open(path)?)
    })
}

async fn open(path: &Path, identity: &str) -> Result<Repository> {
    let text = std::fs::read_to_string(vectors(&format!("repositories/{identity}.identity")));
    let access = Access { identity: Some(Identity::parse(&text.unwrap())?), writer: None };
    Repository::open(store(path)?, access).await
}

async fn verified(repository: &Repository) -> Result<VerifyReport> {
    let (_interrupter, interrupt) = interrupt();
    let progress: Arc<dyn Progress> = Arc::new(Silent);
    verify::run(repository, &VerifyOptions::default(), &progress, interrupt).await
}

/// The rows of every table in COPY text, of the newest backup.
async fn rows(repository: &Repository) -> Result<Vec<(Entry, Vec<u8>)>> {
    let expected = json(&vectors("repositories/expected.json"));
    let backup = repository.find(expected["backups"][1]["id"].as_str().unwrap()).await?;
    let chunks = ChunkReader::open(repository).await?;
    let mut found = Vec::new();
    for entry in chunks.entries(&backup, backup.database(None)?.entries_stream).await? {
        let Some(data) = entry.data.clone() else { continue };
        let stream = &backup.clear.streams[data.stream as usize];
        let mut plain = Vec::new();
        for reference in chunks.references(stream).await? {
            plain.extend(chunks.read_rows(&reference, data.encoding).await?);
        }
        found.push((entry, plain));
    }
    Ok(found)
}

#[tokio::test]
async fn the_golden_repositories_are_whole_and_hold_what_they_should() {
    let expected = json(&vectors("repositories/expected.json"));
    let mut outcomes = Vec::new();
    for (path, identity) in [
        ("sealed", "sealed"),
        ("plain", "plain"),
        ("sealed.pgkeep", "sealed"),
        ("plain.pgkeep", "plain"),
    ] {
        let repository = open(&vectors("repositories").join(path), identity).await.unwrap();
        let report = verified(&repository).await.unwrap();
        assert_eq!(report.problems, [], "{path}");
        assert_eq!(report.backups, 2, "{path}");
        let backups = repository.backups().await.unwrap();
        let ids: Vec<String> = backups.good.iter().map(|b| b.clear.id.to_string()).collect();
        let said = expected["backups"].as_array().unwrap();
        assert_eq!(ids, said.iter().map(|b| b["id"].as_str().unwrap()).collect::<Vec<_>>());
        let sealed = backups.good[1].sealed_part().unwrap();
        assert_eq!(sealed.databases[0].name, expected["database"].as_str().unwrap());
        outcomes.push(rows(&repository).await.unwrap());
    }
    let clients = outcomes[0].iter().find(|(entry, _)| entry.name == "clients").unwrap();
    assert!(clients.1.starts_with(b"1\tAda\t\\N\n2\tBob"));
    assert_eq!(outcomes[0].len(), 7);
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
}

/// The sealed repository with the changes of a vector, in a folder of its own.
fn changed(case: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&vectors("repositories/sealed"), folder.path());
    for (name, content) in case["objects"].as_object().unwrap() {
        let path = folder.path().join(name);
        if content.is_null() {
            std::fs::remove_file(path).unwrap();
        } else {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes(content)).unwrap();
        }
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    for item in std::fs::read_dir(from).unwrap() {
        let path = item.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

fn cases(folder: &str) -> Vec<(String, Value)> {
    let folder = vectors("repositories").join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|item| item.unwrap().path());
    let mut cases: Vec<_> = paths
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), json(&path)))
        .collect();
    cases.sort_by(|left, right| left.0.cmp(&right.0));
    cases
}

/// What is wrong with a repository: the error that ends reading it, or what verify reports.
async fn complaint(path: &Path) -> Option<String> {
    let outcome: std::result::Result<VerifyReport, Error> = async {
        let repository = open(path, "sealed").await?;
        let report = verified(&repository).await?;
        Ok(report)
    }
    .await;
    match outcome {
        Err(error) => Some(format!("{error:?}")),
        Ok(report) if report.problems.is_empty() => None,
        Ok(report) => Some(format!("{:?}", report.problems)),
    }
}

#[tokio::test]
async fn verify_finds_what_is_wrong_with_every_bad_repository() {
    let cases = cases("bad");
    assert!(cases.len() > 40);
    let mut missed = Vec::new();
    for (rule, case) in cases {
        let folder = changed(&case);
        match complaint(folder.path()).await {
            Some(said) => assert!(!said.is_empty()),
            None => missed.push(rule),
        }
    }
    assert_eq!(missed, Vec::<String>::new(), "not found");
}

#[tokio::test]
async fn changes_that_do_no_harm_change_no_row() {
    let whole =
        rows(&open(&vectors("repositories/sealed"), "sealed").await.unwrap()).await.unwrap();
    // A reader should try another copy of a damaged chunk; this one stops and names it.
    let cases = cases("good").into_iter().filter(|(rule, _)| !rule.contains("damaged-copy"));
    for (rule, case) in cases {
        let folder = changed(&case);
        let repository = open(folder.path(), "sealed").await.unwrap();
        if rule.contains("left-out") || rule.contains("twice") {
            assert_eq!(complaint(folder.path()).await, None, "{rule}");
        }
        let found = rows(&repository).await;
        assert_eq!(found.as_ref().ok(), Some(&whole), "{rule}: {:?}", found.as_ref().err());
    }
}

#[tokio::test]
async fn a_byte_changed_anywhere_in_a_repository_is_found() {
    let source = vectors("repositories/plain");
    let folder = tempfile::tempdir().unwrap();
    copy(&source, folder.path());
    let mut objects = Vec::new();
    walk(folder.path(), &mut objects);
    for path in objects {
        let content = std::fs::read(&path).unwrap();
        for at in (0..content.len()).step_by(17) {
            let mut changed = content.clone();
            changed[at] ^= 1 << (at % 8);
            std::fs::write(&path, &changed).unwrap();
            let said = match open(folder.path(), "plain").await {
                Err(error) => Some(error.to_string()),
                Ok(repository) => {
                    let report = verified(&repository).await.unwrap();
                    report.problems.first().map(|problem| problem.message.clone())
                }
            };
            assert!(said.is_some(), "{} at {at}", path.display());
        }
        std::fs::write(&path, &content).unwrap();
    }
    let repository = open(folder.path(), "plain").await.unwrap();
    assert_eq!(verified(&repository).await.unwrap().problems, []);
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for item in std::fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}
