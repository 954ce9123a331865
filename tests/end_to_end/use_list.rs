//! The editable list: what is taken out of it is not restored, and nothing else changes.

use crate::{platform, repository};
use pgkeep_tests::{Server, assert_same_text, every_major};
use std::path::Path;

every_major!(list_is_restored_without_what_was_taken_out);

fn edited(list: &str, keeps: impl Fn(&str) -> bool) -> String {
    let lines = list.lines().map(|line| match keeps(line) {
        true => line.to_owned(),
        false => format!(";{line}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn written(folder: &Path, list: &str) -> String {
    let path = folder.join("list");
    std::fs::write(&path, list).unwrap();
    path.to_str().unwrap().to_owned()
}

fn list_is_restored_without_what_was_taken_out(server: &Server) {
    let source = platform(server, "0.005");
    source.query(
        "CREATE TABLE \"odd\n0; TABLE public jobs app\" (\"; c\" int);
         COMMENT ON TABLE \"odd\n0; TABLE public jobs app\" IS '; -- ';
         CREATE INDEX \"; index\t\u{1b}[2J\" ON \"odd\n0; TABLE public jobs app\" (\"; c\")",
    );
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let list = repository.run(["ls", "--list"]).ok().stdout_text();
    let folder = tempfile::tempdir().unwrap();

    // As it is, it is everything, whatever the names are.
    let all = server.database();
    repository.restore(&all.uri(), &["--use-list", &written(folder.path(), &list)]);
    source.assert_same_schema(&all);
    source.assert_same_rows(&all);

    let without = ["TABLE DATA public jobs ", "COMMENT ", "INDEX ", "STATISTICS DATA "];
    let kept = edited(&list, |line| {
        let what = line.split_once("; ").map_or("", |(_, what)| what);
        !without.iter().any(|left_out| what.starts_with(left_out))
    });
    let part = server.database();
    let file = written(folder.path(), &kept);
    let restored = repository.restore(&part.uri(), &["-L", &file]);
    assert!(!restored.to_string().contains("COMMENT"));
    assert_eq!(part.query("SELECT count(*) FROM jobs").trim(), "0");
    let clients = "SELECT count(*) FROM clients";
    assert_eq!(part.query(clients), source.query(clients));
    let index = "SELECT to_regclass('public.jobs_by_day')";
    assert_eq!((source.query(index).trim(), part.query(index).trim()), ("jobs_by_day", ""));
    // Other options narrow it further, and an export reads it too.
    let sql = repository.run(["export", "-L", &file, "-t", "clients"]).ok().stdout_text();
    assert!(
        sql.contains("\"clients\"") && !sql.contains("COMMENT ON") && !sql.contains("\"jobs\"")
    );
}

#[test]
fn list_that_is_not_of_the_backup_is_refused_with_its_line() {
    let source = Server::shared(18).database();
    source.query("CREATE TABLE a (i int); CREATE VIEW v AS SELECT i FROM a");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let list = repository.run(["ls", "--list"]).ok().stdout_text();
    let copy = source.server().database();
    let folder = tempfile::tempdir().unwrap();
    let refused = |text: &str, code: i32, expected: &str| {
        let file = written(folder.path(), text);
        let run = repository.run(["restore", "-d", &copy.uri(), "--use-list", &file]).code(code);
        assert!(run.stderr.contains(expected), "{expected}: {}", run.stderr);
    };
    refused("; a comment\n\nTABLE public a", 2, "line 3");
    refused("100000; TABLE public a postgres", 2, "line 1");
    refused("18446744073709551616; TABLE public a postgres", 2, "line 1");
    let other = list.replace("TABLE public a ", "TABLE public b ");
    refused(&other, 2, "another one");
    refused("\0\0", 2, "line 1");
    // A view without its table.
    let view = list.lines().find(|line| line.contains("VIEW public v")).unwrap();
    refused(view, 1, "neither in the list");
    let nothing = "SELECT count(*) FROM pg_class WHERE relname IN ('a', 'v')";
    assert_eq!(copy.query(nothing), "0\n");
    copy.query("CREATE TABLE a (i int)");
    repository.restore(&copy.uri(), &["--use-list", &written(folder.path(), view)]);
    assert_same_text(&source.dump(&["-s", "-t", "v"]), &copy.dump(&["-s", "-t", "v"]));
}
