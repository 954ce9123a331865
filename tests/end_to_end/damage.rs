//! Whatever happens to the files of a repository is found: a changed byte, a missing end, a
//! lost file, a file of another repository. Nothing makes the program panic, and nothing
//! that is damaged is restored as if it were whole.

use crate::moments::{catch_up, dedicated_with};
use crate::{platform, repository};
use pgkeep_tests::{Repository, Server};
use std::path::{Path, PathBuf};

/// How many places of each file are changed, spread over its length; its first and last
/// bytes are always among them.
const PLACES: usize = 24;

fn small_repository() -> Repository {
    let source = platform(Server::shared(18), "0.001");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    repository
}

/// Files that only make reading quicker and can be made again.
fn is_cache(repository: &Repository, path: &Path) -> bool {
    path.starts_with(repository.directory().join("indexes"))
}

#[track_caller]
fn assert_verify_finds(repository: &Repository, what: &str) {
    let outcome = repository.run(["verify"]);
    assert!(!outcome.stderr.contains("panicked"), "{what}: {}", outcome.stderr);
    assert!(!matches!(outcome.status.code(), Some(0) | None), "{what} was not found: {outcome:?}");
}

fn places(len: usize) -> Vec<usize> {
    let mut places: Vec<_> = (0..PLACES).map(|i| i * (len - 1) / (PLACES - 1)).collect();
    places.dedup();
    places
}

#[test]
fn changed_byte_anywhere_is_found() {
    let repository = small_repository();
    let _ = repository.run(["verify"]).ok();
    let files = repository.files();
    assert!(files.len() > 4, "{files:?}");
    for file in files {
        let whole = std::fs::read(&file).unwrap();
        assert!(!whole.is_empty(), "{}", file.display());
        for place in places(whole.len()) {
            let mut changed = whole.clone();
            changed[place] ^= 1 << (place % 8);
            std::fs::write(&file, &changed).unwrap();
            assert_verify_finds(&repository, &format!("byte {place} of {}", file.display()));
        }
        std::fs::write(&file, &whole).unwrap();
    }
    let _ = repository.run(["verify"]).ok();
}

#[test]
fn truncated_emptied_and_lengthened_files_are_found() {
    let repository = small_repository();
    for file in repository.files() {
        let whole = std::fs::read(&file).unwrap();
        for len in [0, 1, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&file, &whole[..len]).unwrap();
            assert_verify_finds(&repository, &format!("{} cut to {len}", file.display()));
        }
        std::fs::write(&file, [&whole[..], b"more"].concat()).unwrap();
        assert_verify_finds(&repository, &format!("{} lengthened", file.display()));
        std::fs::write(&file, &whole).unwrap();
    }
}

#[test]
fn lost_file_is_found_unless_it_is_a_cache_or_the_backup_itself() {
    let repository = small_repository();
    let backups = repository.directory().join("backups");
    for file in repository.files() {
        let whole = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        if is_cache(&repository, &file) {
            let _ = repository.run(["verify"]).ok();
        } else if !file.starts_with(&backups) {
            assert_verify_finds(&repository, &format!("loss of {}", file.display()));
        }
        std::fs::write(&file, &whole).unwrap();
    }
}

#[test]
fn damage_of_a_change_stream_is_found() {
    let server = dedicated_with(18, &[]);
    let source = server.database();
    source.query("CREATE TABLE t (n int PRIMARY KEY, v text)");
    let repository = repository();
    let _ = repository.run(["setup", "-q", "-d", &source.uri()]).ok();
    source.query("INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 500) i");
    catch_up(&repository, &source);
    let whole = repository.run(["verify", "--json"]).ok().json();
    let files = repository.files();
    assert_eq!(whole["objects"].as_u64(), Some(files.len() as u64), "{whole}");
    let is_of_stream = |file: &&PathBuf| {
        let below = |folder| file.starts_with(repository.directory().join(folder));
        below("changes") || below("streams")
    };
    let of_stream: Vec<_> = files.iter().filter(is_of_stream).collect();
    assert!(of_stream.len() >= 4, "{of_stream:?}");
    for file in of_stream {
        let bytes = std::fs::read(file).unwrap();
        for place in places(bytes.len()) {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << (place % 8);
            std::fs::write(file, &changed).unwrap();
            assert_verify_finds(&repository, &format!("byte {place} of {}", file.display()));
        }
        std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        assert_verify_finds(&repository, &format!("{} cut", file.display()));
        if file.starts_with(repository.directory().join("changes")) {
            std::fs::remove_file(file).unwrap();
            assert_verify_finds(&repository, &format!("loss of {}", file.display()));
            // Which span of the stream is gone is told too.
            let report = repository.run(["verify", "--json"]).code(1).json();
            let spans = report["problems"].as_array().unwrap().iter();
            let spans: Vec<_> = spans.filter(|it| it["changes"]["to"].is_string()).collect();
            assert!(!spans.is_empty(), "{report}");
        }
        std::fs::write(file, &bytes).unwrap();
    }
    let _ = repository.run(["verify"]).ok();
}

fn first_of(repository: &Repository, folder: &str) -> PathBuf {
    let folder = repository.directory().join(folder);
    let mut files = repository.files().into_iter();
    files.find(|file| file.starts_with(&folder)).expect("a file")
}

#[test]
fn file_of_another_repository_is_found() {
    let (ours, theirs) = (small_repository(), small_repository());
    for folder in ["packs", "backups", "config", "keys"] {
        let (file, other) = (first_of(&ours, folder), first_of(&theirs, folder));
        let whole = std::fs::read(&file).unwrap();
        std::fs::copy(&other, &file).unwrap();
        assert_verify_finds(&ours, &format!("a file in {folder} of another repository"));
        std::fs::write(&file, &whole).unwrap();
    }
}

#[test]
fn damaged_rows_are_never_restored() {
    let repository = small_repository();
    let server = Server::shared(18);
    let pack = first_of(&repository, "packs");
    let whole = std::fs::read(&pack).unwrap();
    for place in places(whole.len()) {
        let mut changed = whole.clone();
        changed[place] ^= 0x40;
        std::fs::write(&pack, &changed).unwrap();
        let copy = server.database();
        let outcome = repository.run(["restore", "-d", &copy.uri()]);
        assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
        // What restore does not need to read may be damaged; what it restores may not.
        if outcome.status.code() == Some(0) {
            let source = platform(server, "0.001");
            source.assert_same_rows(&copy);
        }
    }
}

#[test]
fn newer_format_is_refused_as_such() {
    let repository = small_repository();
    let config = first_of(&repository, "config");
    let mut bytes = std::fs::read(&config).unwrap();
    // The version of the object header, see FORMAT.md.
    bytes[8] = 2;
    std::fs::write(&config, &bytes).unwrap();
    let outcome = repository.run(["list"]).code(1);
    assert!(outcome.stderr.contains("version"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("newer"), "no hint at a newer pgkeep: {}", outcome.stderr);
}
