//! Names, texts and bodies that are meant to break out: nothing of them is run and no file is
//! written by them, whatever a backup is written as and whatever reads it.

use crate::export::psql;
use crate::repository;
use pgkeep_tests::{Database, Outcome, Server, every_major};
use std::path::{Path, PathBuf};

every_major!(nothing_in_a_database_breaks_out_of_an_export);

/// Roles with hostile names, dropped at the end.
struct Roles<'a> {
    server: &'a Server,
    name: String,
}

impl<'a> Roles<'a> {
    fn create(server: &'a Server, marker: &Path) -> Self {
        let name = format!("\n\\! touch {} \"';--", marker.display());
        let roles = Self { server, name };
        for role in roles.quoted() {
            server.query(&format!("CREATE ROLE {role}"));
        }
        roles
    }

    fn quoted(&self) -> [String; 2] {
        let name = self.name.replace('"', "\"\"");
        [format!("\"{name}\""), format!("\"{name} 2\"")]
    }
}

impl Drop for Roles<'_> {
    fn drop(&mut self) {
        for role in self.quoted() {
            self.server.query(&format!("DROP ROLE IF EXISTS {role}"));
        }
    }
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[track_caller]
fn assert_same(source: &Database<'_>, copy: &Database<'_>) {
    source.assert_same_rows(copy);
    source.assert_same_schema(copy);
}

fn nothing_in_a_database_breaks_out_of_an_export(server: &Server) {
    let folder = tempfile::tempdir().unwrap();
    // Short: it is part of names.
    let marker = PathBuf::from(format!("/tmp/{:x}{}", std::process::id(), server.major()));
    let roles = Roles::create(server, &marker);
    {
        let source = server.database();
        source.load("hostile.sql", &[("marker", marker.to_str().unwrap()), ("role", &roles.name)]);
        let repository = repository();
        repository.backup(&source.uri(), &[]);

        for (name, options) in [
            ("copy.sql", &[][..]),
            ("inserts.sql", &["--inserts"]),
            ("columns.sql", &["--column-inserts", "--rows-per-insert=5"]),
            ("clean.sql", &["--clean", "--if-exists"]),
        ] {
            let script = folder.path().join(name);
            let output = ["export", "-o", script.to_str().unwrap()];
            let _ = repository.run(output.iter().chain(options)).ok();
            let copy = server.database();
            psql(&copy, &script, &[]);
            assert_same(&source, &copy);
        }

        let restored = server.database();
        repository.restore(&restored.uri(), &[]);
        repository.restore(&restored.uri(), &["--clean"]);
        assert_same(&source, &restored);

        let archive = folder.path().join("archive");
        let output = ["export", "--format", "directory", "-o", archive.to_str().unwrap()];
        let _ = repository.run(output).ok();
        let mut pg_restore = server.client_program("pg_restore");
        let script = folder.path().join("archive.sql");
        let _ = Outcome::of(pg_restore.arg("-f").arg(&script).arg(&archive)).ok();
        if server.major() >= 17 {
            let copy = server.database();
            psql(&copy, &script, &[]);
            assert_same(&source, &copy);
            let copy = server.database();
            let mut pg_restore = server.client_program("pg_restore");
            let _ = Outcome::of(pg_restore.args(["-j2", "-d", copy.name()]).arg(&archive)).ok();
            assert_same(&source, &copy);
        }

        let csv = folder.path().join("csv");
        let output = format!("{}/", csv.display());
        let _ = repository.run(["export", "--format", "csv", "-o", &output]).ok();
        let tables =
            source.query("SELECT count(*) FROM pg_class WHERE relkind = 'r' AND oid >= 16384");
        assert_eq!(files(&csv).len().to_string(), tables.trim());
        assert!(files(&csv).iter().all(|file| file.parent() == Some(&csv)));
    }
    drop(roles);
    assert!(!marker.exists(), "something was run");
}
