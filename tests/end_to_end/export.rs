//! A backup as SQL or CSV, for people and for other programs.

use crate::{platform, repository};
use pgkeep_tests::{Server, every_major};
use std::process::Stdio;

every_major!(exported_sql_makes_the_same_database);

fn exported_sql_makes_the_same_database(server: &Server) {
    let source = platform(server, "0.005");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("platform.sql");
    let _ = repository.run(["export".as_ref(), "--output".as_ref(), file.as_os_str()]).ok();
    let copy = server.database();
    let mut psql = copy.psql_command();
    let output = psql.arg("-f").arg(&file).stdout(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    source.assert_same_rows(&copy);
    source.assert_same_schema(&copy);
}

#[test]
fn every_type_comes_back_from_exported_sql() {
    let server = Server::shared(18);
    let source = server.database();
    source.load("types.sql", &[]);
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let script = repository.run(["export"]).ok();
    let copy = server.database();
    copy.query(&script.stdout_text());
    source.assert_same_rows(&copy);
}

#[test]
fn csv_is_what_the_server_writes() {
    let server = Server::shared(18);
    let source = server.database();
    source.load("types.sql", &[]);
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    for table in ["numbers", "texts", "times", "arrays", "only_nulls", "own", "no_rows"] {
        let ours = repository.run(["export", "--format", "csv", "-t", &format!("types.{table}")]);
        let theirs = source.query(&format!(
            "SET timezone = 'UTC'; SET extra_float_digits = 3;
             COPY types.{table} TO STDOUT (FORMAT csv, HEADER)"
        ));
        assert_eq!(ours.ok().stdout_text(), theirs, "{table}");
    }
}

#[test]
fn exports_of_a_directory_hold_a_file_for_each_table() {
    let source = platform(Server::shared(17), "0.002");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    let run = repository.run(["export", "--format", "csv", "-n", "auth", "-o", output]);
    let _ = run.ok();
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(files, [folder.path().join("auth.users.csv")]);
    let lines = std::fs::read_to_string(&files[0]).unwrap().lines().count();
    assert_eq!(lines, 41, "40 users and a header");
}
