//! docs/security.md is true as far as tests go: every claim in its tables names tests, and each of
//! them is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const TEXT: &str = include_str!("../../docs/security.md");

/// The names of all test functions below these folders.
fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut open: Vec<PathBuf> =
        ["engine/src", "cli/src", "format-spec", "tests"].map(|folder| root.join(folder)).into();
    let mut found = BTreeSet::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let functions = text.lines().map(str::trim_start).filter_map(|line| {
            let line = line.strip_prefix("async ").unwrap_or(line);
            line.strip_prefix("fn ")?.split_once('(').map(|(name, _)| name.to_owned())
        });
        found.extend(functions);
    }
    found
}

/// The rows of all tables whose last column is called test: a claim, and the tests it names.
fn claims() -> Vec<(&'static str, Vec<&'static str>)> {
    let (mut found, mut of_claims) = (Vec::new(), false);
    for line in TEXT.lines() {
        match line {
            _ if !line.starts_with('|') => of_claims = false,
            _ if line.ends_with("| test |") => of_claims = true,
            _ if of_claims && line.starts_with("| ") => {
                let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
                let names = cells.last().expect("a cell").split('`').skip(1).step_by(2);
                found.push((cells[0], names.collect()));
            }
            _ => {}
        }
    }
    found
}

#[test]
fn every_claim_of_security_has_a_test_that_is_there() {
    let tests = tests();
    let claims = claims();
    assert!(claims.len() > 15, "{} claims", claims.len());
    for (claim, names) in claims {
        assert!(!names.is_empty(), "no test is named for: {claim}");
        for name in names {
            assert!(tests.contains(name), "there is no test {name}, named for: {claim}");
        }
    }
}
