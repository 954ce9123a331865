//! `pgkeep log`: what happened to rows, told as it happened.

use crate::moments::{catch_up, dedicated_with};
use crate::repository;
use pgkeep_tests::{Database, Repository, Server};
use serde_json::{Value, json};

struct Streamed<'a> {
    repository: Repository,
    source: Database<'a>,
}

/// A source with a stream, and no backup: none is needed.
fn streamed<'a>(server: &'a Server, tables: &str) -> Streamed<'a> {
    let source = server.database();
    source.query(tables);
    let repository = repository();
    let _ = repository.run(["setup", "-q", "--keyless", "full", "-d", &source.uri()]).ok();
    Streamed { repository, source }
}

impl Streamed<'_> {
    /// Changes and the summary.
    fn log(&self, arguments: &[&str]) -> (Vec<Value>, Value) {
        let run = self.repository.run([&["log", "--json"], arguments].concat()).ok();
        let mut lines: Vec<Value> = run
            .stdout_text()
            .lines()
            .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
            .collect();
        let summary = lines.pop().expect("a summary");
        assert_eq!(summary["message_type"], "summary");
        assert!(lines.iter().all(|line| line["message_type"] == "change"), "{lines:?}");
        (lines, summary)
    }
}

fn actions(changes: &[Value]) -> Vec<&str> {
    changes.iter().map(|change| change["action"].as_str().unwrap()).collect()
}

#[test]
fn a_row_is_followed_from_its_insert_to_its_delete() {
    let server = dedicated_with(18, &[]);
    let streamed = streamed(
        &server,
        "CREATE TABLE jobs (id int PRIMARY KEY, state text, body text);
         ALTER TABLE jobs ALTER body SET STORAGE EXTERNAL",
    );
    let source = &streamed.source;
    source
        .query("INSERT INTO jobs SELECT i, 'new', repeat('x', 5000) FROM generate_series(1, 9) i");
    source.query("UPDATE jobs SET state = 'it''s done' WHERE id = 4");
    source.query("UPDATE jobs SET id = 40 WHERE id = 4");
    source.query("BEGIN; SAVEPOINT s; DELETE FROM jobs; ROLLBACK TO s; DELETE FROM jobs WHERE id = 40; COMMIT");
    source.query("TRUNCATE jobs");
    catch_up(&streamed.repository, source);

    let (changes, summary) = streamed.log(&["-t", "jobs", "--key", "4"]);
    assert_eq!(actions(&changes), ["truncate", "update", "update", "insert"]);
    assert_eq!(summary["changes"], 4);
    let [_, rekeyed, done, inserted] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!(rekeyed["old"], json!({ "id": "4" }));
    assert_eq!(rekeyed["new"], json!({ "id": "40", "state": "it's done" }));
    assert_eq!(rekeyed["unchanged"], json!(["body"]));
    assert_eq!(done["new"], json!({ "id": "4", "state": "it's done" }));
    assert_eq!(done["key"], json!(["id"]));
    assert_eq!((&done["schema"], &done["table"]), (&json!("public"), &json!("jobs")));
    assert_eq!(inserted["new"]["body"].as_str().unwrap().len(), 5000);

    let (changes, _) = streamed.log(&["-t", "jobs", "--key", "id=40"]);
    assert_eq!(actions(&changes), ["truncate", "delete", "update"]);
    assert_eq!(changes[1]["old"], json!({ "id": "40" }));

    let (all, _) = streamed.log(&["-t", "public.jobs"]);
    assert_eq!(all.len(), 9 + 2 + 1 + 1);
    let (newest, summary) = streamed.log(&["-t", "jobs", "--limit", "3"]);
    assert_eq!(newest, all[..3]);
    assert_eq!(summary["limited"], true);

    let text = streamed.repository.run(["log", "-t", "jobs", "--key", "4"]).ok().stdout_text();
    assert!(
        text.contains("  UPDATE public.jobs: id=4 -> 40, state='it''s done', body=(unchanged)")
    );
    assert!(text.contains(&format!("transaction {}, ", done["xid"])), "{text}");
    // What it tells is where a restore goes.
    streamed.repository.backup(&source.uri(), &[]);
}

#[test]
fn transactions_are_told_whole_and_by_their_time() {
    let server = dedicated_with(14, &[]);
    let streamed = streamed(&server, "CREATE TABLE t (n int PRIMARY KEY); CREATE TABLE u (n int)");
    let source = &streamed.source;
    let mut times = Vec::new();
    for n in 1..=6 {
        source.query(&format!(
            "BEGIN; INSERT INTO t VALUES ({n}); INSERT INTO u VALUES ({n});
             UPDATE u SET n = -n WHERE n = {n}; COMMIT"
        ));
        times.push(source.query("SELECT clock_timestamp()").trim().to_owned());
        if n % 2 == 0 {
            catch_up(&streamed.repository, source);
        }
    }
    let told = |arguments: &[&str]| -> Vec<String> {
        let (changes, _) = streamed.log(&[&["-t", "t"], arguments].concat());
        let value = |change: &Value| change["new"]["n"].as_str().unwrap().to_owned();
        changes.iter().map(value).collect()
    };
    assert_eq!(told(&[]), ["6", "5", "4", "3", "2", "1"]);
    assert_eq!(told(&["--to", &times[3]]), ["4", "3", "2", "1"]);
    assert_eq!(told(&["--from", &times[3]]), ["6", "5"]);
    assert_eq!(told(&["--from", &times[0], "--to", &times[4]]), ["5", "4", "3", "2"]);
    let (both, _) = streamed.log(&["-t", "t|u", "--from", &times[4]]);
    // One transaction; of a table the newest change first.
    let of_u: Vec<_> = both.iter().filter(|change| change["table"] == "u").collect();
    assert_eq!((both.len(), of_u.len()), (3, 2));
    assert!(both.iter().all(|change| change["xid"] == both[0]["xid"]), "{both:?}");
    assert_eq!(of_u[0]["old"], json!({ "n": "6" }), "all of a row without a key is known");
    assert_eq!(of_u[0]["new"], json!({ "n": "-6" }));

    let before = ["log", "--json", "-t", "t", "--from", "2001-01-01 00:00:00Z"];
    let run = streamed.repository.run(before).code(3);
    assert!(run.stdout_text().contains("the change stream has nothing from 2001"), "{run:?}");
}

#[test]
fn a_renamed_table_keeps_its_history_and_altered_columns_their_names() {
    let server = dedicated_with(18, &[]);
    let streamed = streamed(
        &server,
        "CREATE TABLE pairs (a int, b text, c int, PRIMARY KEY (a, b));
         CREATE TABLE other (a int PRIMARY KEY)",
    );
    let source = &streamed.source;
    source.query("INSERT INTO pairs VALUES (1, 'x', 1), (1, 'y', 2); INSERT INTO other VALUES (1)");
    source.query("ALTER TABLE pairs RENAME COLUMN c TO d; ALTER TABLE pairs ADD e int DEFAULT 7");
    source.query("ALTER TABLE pairs RENAME TO couples; UPDATE couples SET d = NULL WHERE b = 'y'");
    catch_up(&streamed.repository, source);
    let (changes, _) = streamed.log(&["-t", "couples", "--key", "a=1", "--key", "b=y"]);
    assert_eq!(actions(&changes), ["update", "insert"]);
    assert_eq!(changes[0]["new"], json!({ "a": "1", "b": "y", "d": null, "e": "7" }));
    assert_eq!(changes[1]["new"], json!({ "a": "1", "b": "y", "c": "2" }));
    assert_eq!(changes[1]["table"], "pairs");

    let refused = |arguments: &[&str], message: &str| {
        let run = streamed.repository.run([&["log"], arguments].concat()).code(2);
        assert!(run.stderr.contains(message), "{}", run.stderr);
    };
    refused(&["-t", "couples", "--key", "1"], "more than one column identifies rows");
    refused(&["-t", "couples", "--key", "1"], "--key a=VALUE");
    refused(&["-t", "couples", "--key", "colour=red"], "has a column \"colour\"");
    let (none, summary) = streamed.log(&["-t", "nothing_of_that_name"]);
    assert_eq!((none.len(), &summary["changes"]), (0, &json!(0)));
}

#[test]
fn without_the_identity_nothing_is_told() {
    let server = dedicated_with(18, &[]);
    let streamed = streamed(&server, "CREATE TABLE t (n int PRIMARY KEY)");
    catch_up(&streamed.repository, &streamed.source);
    std::fs::remove_file(streamed.repository.identity()).expect("the identity");
    let run = streamed.repository.run(["log", "-t", "t"]).code(12);
    assert!(run.stderr.contains("--identity"), "{}", run.stderr);
}
