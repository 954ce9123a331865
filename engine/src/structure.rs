//! Keeps the arrows of ARCHITECTURE.md: which module may name which, and which one alone
//! knows an outside crate.

use std::fs;
use std::path::{Path, PathBuf};

const MODULES: &[&str] = &[
    "backup",
    "restore",
    "stream",
    "history",
    "export",
    "verify",
    "repair",
    "copy",
    "prune",
    "forget",
    "fold",
    "repository",
    "catalog",
    "seal",
    "postgres",
    "store",
];

/// What each module may name besides itself, `error`, `progress` and `clock`.
const ARROWS: &[(&str, &[&str])] = &[
    ("backup", &["repository", "catalog", "seal", "postgres", "store"]),
    ("restore", &["fold", "repository", "catalog", "postgres"]),
    ("stream", &["repository", "catalog", "seal", "postgres"]),
    ("history", &["fold", "repository", "catalog", "postgres"]),
    ("export", &["repository", "catalog", "seal", "postgres"]),
    ("verify", &["repository", "seal", "store"]),
    ("repair", &["repository", "store"]),
    ("copy", &["repository", "seal"]),
    ("prune", &["repository"]),
    ("forget", &["fold", "repository"]),
    ("fold", &["repository", "catalog", "seal", "postgres"]),
    ("repository", &["seal", "store"]),
    ("catalog", &["postgres"]),
    ("seal", &[]),
    ("postgres", &[]),
    ("store", &[]),
];

/// Outside crates that one module alone knows. ring is known to two: `seal`, and
/// `postgres::tls` for the digest that binds SCRAM to a certificate.
const OWNED: &[(&str, &str)] = &[
    ("age", "seal"),
    ("blake3", "seal"),
    ("zstd", "seal"),
    ("siphasher", "seal"),
    ("tokio_postgres", "postgres"),
    ("postgres_protocol", "postgres"),
    ("rustls", "postgres"),
    ("tokio_rustls", "postgres"),
    ("aws_config", "store"),
    ("aws_sdk_s3", "store"),
    ("http_body", "store"),
];

/// Crates of the terminal, which the engine never names.
const TERMINAL: &[&str] = &["clap", "indicatif", "anyhow"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every module with the code of one of its files: no comments, no tests at its end.
fn code() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let module = |path: &Path| {
        let below = path.strip_prefix(&root).unwrap();
        below.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    files
        .into_iter()
        .filter(|path| {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            stem != "structure" && stem != "fixture" && !stem.ends_with("tests")
        })
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            (module(&path), path, lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

fn names(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        !code[..at]
            .ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':')
    })
}

#[test]
fn modules_name_only_what_stands_below_them() {
    let code = code();
    assert!(code.len() > 50, "{} files were found", code.len());
    for (module, path, code) in code {
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == module) else {
            continue;
        };
        for other in MODULES.iter().filter(|other| **other != module && !allowed.contains(other)) {
            let arrow = names(&code, &format!("crate::{other}"));
            assert!(!arrow, "{}: {module} must not name {other}", path.display());
        }
    }
}

#[test]
fn an_outside_crate_is_known_to_one_module() {
    for (module, path, code) in code() {
        for (outside, owner) in OWNED.iter().filter(|(_, owner)| *owner != module) {
            let known = names(&code, &format!("{outside}::"));
            assert!(!known, "{}: {outside} belongs to {owner}", path.display());
        }
        for outside in TERMINAL {
            assert!(!names(&code, &format!("{outside}::")), "{}: {outside}", path.display());
        }
    }
}
