//! What stays and what goes: forget by rule, prune beside backups and streams, on real servers.

use crate::definitions::{assert_same_schema, schema};
use crate::moments::{catch_up, dedicated_with, now, tables};
use crate::sessions::eventually;
use crate::{platform, repository, repository_in};
use pgkeep_tests::{Bucket, Database, Repository, Server};
use serde_json::Value;
use std::io::Write;
use std::process::Stdio;

fn id(backup: &Value) -> &str {
    backup["backup"].as_str().expect("the backup's id")
}

/// The ids of the backups that are listed, oldest first.
fn listed(repository: &Repository) -> Vec<String> {
    let listing = repository.run(["list", "--json"]).ok().json();
    let backups = listing["backups"].as_array().expect("backups");
    backups.iter().map(|backup| backup["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn forgotten_backups_free_their_bytes_and_the_others_restore() {
    for bucket in [None, Some(Bucket::start())] {
        let repository = match &bucket {
            Some(bucket) => repository_in(bucket),
            None => repository(),
        };
        let source = platform(Server::shared(18), "0.2");
        let first = repository.backup(&source.uri(), &["--tag", "reason=deploy"]);
        source.query(
            "UPDATE transactions SET amount = amount + 1, description = md5(random()::text)",
        );
        let second = repository.backup(&source.uri(), &[]);
        source.query(
            "DELETE FROM jobs WHERE id % 2 = 0;
             REFRESH MATERIALIZED VIEW monthly_totals; REFRESH MATERIALIZED VIEW yearly_totals",
        );
        let then = source.digests();
        let third = repository.backup(&source.uri(), &[]);

        let dry = ["forget", "--json", "--dry-run", "--keep-last", "1", "--keep-tag", "deploy=1y"];
        let planned = repository.run(dry).ok().json();
        let keep: Vec<(&str, bool)> = planned["backups"]
            .as_array()
            .expect("backups")
            .iter()
            .map(|backup| (backup["id"].as_str().expect("an id"), backup["keep"] == true))
            .collect();
        assert_eq!(keep, [(id(&third), true), (id(&second), false), (id(&first), true)]);
        assert_eq!(listed(&repository).len(), 3);
        let _ = repository.run(["forget", "-q", "--keep-last", "1"]).ok();
        assert_eq!(listed(&repository), [id(&third)]);

        let planned = repository.prune(&["--dry-run"]);
        let pruned = repository.prune(&[]);
        assert!(pruned["removed_bytes"].as_u64() > Some(1 << 20), "{pruned}");
        assert_eq!(pruned["waiting_packs"], 0);
        assert_eq!(planned["removed_packs"], pruned["removed_packs"]);
        let unused = pruned["unused_bytes"].as_u64().expect("bytes");
        assert!(unused * 20 <= pruned["live_bytes"].as_u64().expect("bytes"), "{pruned}");
        let _ = repository.run(["verify", "-q"]).ok();
        let copy = source.server().database();
        repository.restore(&copy.uri(), &[]);
        assert_eq!(copy.digests(), then);
        let again = repository.backup(&source.uri(), &[]);
        assert!(again["new_chunks"].as_u64() <= Some(2), "what was copied is known: {again}");
    }
}

#[test]
fn a_prune_beside_a_running_backup_takes_nothing_from_it() {
    let source = platform(Server::shared(18), "0.1");
    let repository = repository();
    let first = repository.backup(&source.uri(), &[]);
    // A table that is locked keeps the next backup from its end, when it knows the first's chunks.
    let second = repository.backup(&source.uri(), &["--tag", "keep=this"]);
    source.query("CREATE TABLE late (v text); INSERT INTO late SELECT md5(i::text) FROM generate_series(1, 1000) i");
    source.query("CREATE FUNCTION slow(v text) RETURNS boolean LANGUAGE plpgsql AS $$
        BEGIN WHILE EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'holder') LOOP
            PERFORM pg_sleep(0.05); PERFORM pg_stat_clear_snapshot(); END LOOP; RETURN true; END $$");
    let holder = source
        .psql_command()
        .env("PGAPPNAME", "holder")
        .args(["-c", "SELECT pg_sleep(600)"])
        .stdout(Stdio::null())
        .spawn();
    let mut holder = holder.expect("psql");
    eventually(
        &source,
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holder'",
        "1",
    );
    let running = repository
        .command()
        .args([
            "backup",
            "--json",
            "--no-progress",
            "--where",
            "late=public.slow(v)",
            "-d",
            &source.uri(),
        ])
        .stdout(Stdio::piped())
        .spawn();
    let running = running.expect("pgkeep");
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND application_name LIKE 'pgkeep%'";
    eventually(&source, waits, "t");
    let _ = repository.run(["forget", "-q", id(&first), id(&second), "--last-too"]).ok();
    let pruned = repository.prune(&[]);
    assert_eq!(pruned["removed_packs"], 0, "{pruned}");
    assert_eq!(pruned["waiting_for_writers"], 1, "{pruned}");
    source.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holder'",
    );
    let _ = holder.wait();
    let ended = running.wait_with_output().expect("pgkeep to end");
    assert!(ended.status.success());
    repository.prune(&[]);
    let _ = repository.run(["verify", "-q"]).ok();
    let copy = source.server().database();
    repository.restore(&copy.uri(), &[]);
    source.assert_same_rows(&copy);
}

#[test]
fn a_backup_that_was_killed_leaves_what_the_next_one_uses_or_a_prune_removes() {
    let source = platform(Server::shared(18), "0.3");
    let repository = repository();
    repository.backup(&source.uri(), &["-t", "jobs"]);
    let before = repository.size_bytes();
    for _ in 0..3 {
        let child = repository.command().args(["backup", "-q", "-d", &source.uri()]).spawn();
        let mut child = child.expect("pgkeep");
        while repository.size_bytes() < before + 100_000 && child.try_wait().expect("it").is_none()
        {
        }
        child.kill().expect("it to be there");
        let _ = child.wait();
    }
    let leases = |repository: &Repository| {
        let files = repository.files();
        files.iter().filter(|path| path.parent().is_some_and(|it| it.ends_with("writers"))).count()
    };
    assert!(leases(&repository) > 0, "a killed writer leaves its lease");
    let pruned = repository.prune(&["--dead-after", "0h"]);
    assert!(pruned["dead_writers"].as_u64() > Some(0), "{pruned}");
    assert_eq!(leases(&repository), 0);
    let unfinished = std::fs::read_dir(repository.directory().join("tmp")).expect("a directory");
    assert_eq!(unfinished.count(), 0, "half written packs are left");
    let _ = repository.run(["verify", "-q"]).ok();
    let backup = repository.backup(&source.uri(), &[]);
    assert!(backup["rows"].as_u64() > Some(0));
    let copy = source.server().database();
    repository.restore(&copy.uri(), &[]);
    source.assert_same_rows(&copy);
}

#[test]
fn a_prune_beside_a_stream_leaves_every_moment() {
    let server = dedicated_with(18, &[]);
    let source = server.database();
    source.load("platform.sql", &[("scale", "0.02")]);
    let repository = repository();
    let _ = repository.run(["setup", "-q", "--keyless", "full", "-d", &source.uri()]).code(0);
    repository.backup(&source.uri(), &[]);
    let mut stream = repository.command();
    stream.args(["stream", "-q", "--segment-seconds", "1", "-d", &source.uri()]);
    let mut stream = stream.stdout(Stdio::null()).spawn().expect("pgkeep");
    let mut known = Vec::new();
    for round in 0..5 {
        source.query(&format!("UPDATE jobs SET state = 'done' WHERE id % 5 = {round}"));
        known.push(now(&source));
        repository.prune(&[]);
    }
    stream.kill().expect("the stream to be there");
    let _ = stream.wait();
    catch_up(&repository, &source);
    repository.prune(&["--dead-after", "0h"]);
    let _ = repository.run(["verify", "-q"]).ok();
    for moment in known {
        let copy = server.database();
        repository.restore(&copy.uri(), &["--to-lsn", &moment.lsn, "--no-analyze"]);
        assert_eq!(tables(&copy), moment.tables);
    }
}

/// Catches up, and writes a join point at the end.
fn catch_up_and_join(repository: &Repository, source: &Database<'_>) {
    let join = ["stream", "-q", "--until-caught-up", "--join-interval", "0h", "-d", &source.uri()];
    let _ = repository.run(join).ok();
}

/// Names of segments that begin a run or are join points.
fn beginnings(repository: &Repository) -> usize {
    beginnings_from(repository, 0)
}

/// Those at a position of the WAL, or behind it.
fn beginnings_from(repository: &Repository, position: u64) -> usize {
    let names = repository.files().into_iter().filter_map(|path| {
        let is_segment = path.iter().any(|part| part == "streams");
        path.file_name().filter(|_| is_segment)?.to_str().map(str::to_owned)
    });
    let begins = |name: &String| {
        let first = name.get(..16).filter(|first| name.get(17..33) == Some(first))?;
        u64::from_str_radix(first, 16).ok()
    };
    names.filter_map(|name| begins(&name)).filter(|first| *first >= position).count()
}

#[test]
fn a_stream_is_cut_before_the_oldest_kept_backup_and_later_moments_are_exact() {
    let server = dedicated_with(18, &[]);
    let source = server.database();
    source.load("platform.sql", &[("scale", "0.01")]);
    source.query("CREATE SEQUENCE tickets");
    let repository = repository();
    let _ = repository.run(["setup", "-q", "--keyless", "full", "-d", &source.uri()]).code(0);
    let mut days = Vec::new();
    for day in 0..5 {
        let backup = repository.backup(&source.uri(), &[]);
        let mut known = Vec::new();
        for hour in 0..3 {
            source.query(&format!(
                "ALTER TABLE jobs ADD day_{day}_{hour} int DEFAULT {hour};
                 UPDATE jobs SET state = 'done' WHERE id % 15 = {day} * 3 + {hour};
                 CREATE TABLE made_{day}_{hour} AS SELECT nextval('tickets') AS n, 'x' AS v;
                 ALTER TABLE made_{day}_{hour} ADD PRIMARY KEY (n)"
            ));
            known.push((now(&source), schema(&source)));
            catch_up(&repository, &source);
        }
        catch_up_and_join(&repository, &source);
        days.push((backup, known));
    }
    assert_eq!(beginnings(&repository), 6);
    let dry = ["forget", "--json", "--keep-last", "2", "--dry-run"];
    let planned = repository.run(dry).ok().json();
    let forgotten = repository.run(["forget", "--json", "--keep-last", "2"]).ok().json();
    assert_eq!(planned["streams"], forgotten["streams"]);
    let stream = &forgotten["streams"][0];
    assert!(stream["forgotten_segments"].as_u64() > Some(3), "{stream}");
    assert!(stream["reason"].as_str().unwrap().contains(&id(&days[3].0)[..8]), "{stream}");
    let pruned = repository.prune(&[]);
    assert!(pruned["removed_packs"].as_u64() > Some(3), "{pruned}");
    let _ = repository.run(["verify", "-q"]).ok();

    let again = repository.run(["forget", "--json", "--keep-last", "2"]).ok().json();
    assert_eq!(again["streams"][0]["forgotten_segments"], 0, "{again}");
    source.query("UPDATE jobs SET state = 'done'");
    days[4].1.push((now(&source), schema(&source)));
    catch_up(&repository, &source);
    for (moment, definitions) in days[3..].iter().flat_map(|(_, known)| known) {
        let copy = server.database();
        repository.restore(&copy.uri(), &["--to-lsn", &moment.lsn, "--no-analyze"]);
        assert_eq!(tables(&copy), moment.tables, "at {}", moment.lsn);
        assert_same_schema(&schema(&copy), definitions, &moment.lsn);
        let given = "SELECT last_value FROM tickets";
        assert!(copy.query(given).trim().parse::<i64>().unwrap() >= 10);
    }
    let copy = server.database();
    let early = &days[0].1[0].0.lsn;
    let run = repository.run(["restore", "-d", &copy.uri(), "--to-lsn", early]).code(1);
    assert!(run.stderr.contains("does not have"), "{}", run.stderr);

    // All backups stay, and only what leads from the newest one on.
    let last = repository.backup(&source.uri(), &[]);
    catch_up_and_join(&repository, &source);
    let rules = ["forget", "--json", "--keep-last", "9", "--keep-changes", "0h"];
    let cut = repository.run(rules).ok().json();
    assert_eq!(cut["forgotten"], 0, "{cut}");
    let stream = &cut["streams"][0];
    assert!(stream["forgotten_segments"].as_u64() > Some(3), "{stream}");
    assert!(stream["reason"].as_str().unwrap().contains(&id(&last)[..8]), "{stream}");
    let then = tables(&source);
    let copy = server.database();
    repository.restore(&copy.uri(), &["--to-latest", "--no-analyze"]);
    assert_eq!(tables(&copy), then);
}

#[test]
fn a_join_point_waits_for_a_transaction_that_runs_long() {
    let server = dedicated_with(14, &[]);
    let source = server.database();
    source.query("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let repository = repository();
    let _ = repository.run(["setup", "-q", "-d", &source.uri()]).code(0);
    let mut holder = source.psql_command().stdin(Stdio::piped()).spawn().expect("psql");
    let mut input = holder.stdin.take().expect("a pipe");
    writeln!(input, "BEGIN; INSERT INTO t VALUES (1, 'held');").expect("psql to read");
    // Its first statement may still be under way: it counts once it has written.
    let held = "SELECT count(*) FROM pg_stat_activity \
                WHERE state = 'idle in transaction' AND backend_xid IS NOT NULL";
    eventually(&source, held, "1");
    source.query("INSERT INTO t VALUES (2, 'committed')");
    let committed = source.query("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn");
    let committed: u64 = committed.trim().parse().expect("a position");
    // One before both of them would be as good as where the stream begins.
    catch_up_and_join(&repository, &source);
    assert_eq!(beginnings_from(&repository, committed), 0);
    writeln!(input, "COMMIT;").expect("psql to read");
    drop(input);
    assert!(holder.wait().expect("psql to end").success());
    catch_up_and_join(&repository, &source);
    assert_eq!(beginnings_from(&repository, committed), 1);
}

#[test]
fn what_would_forget_everything_is_refused() {
    let source = platform(Server::shared(18), "0.01");
    let repository = repository();
    let only = repository.backup(&source.uri(), &[]);
    let run = repository.run(["forget"]).code(2);
    assert!(run.stderr.contains("no rule says what to keep"), "{}", run.stderr);
    let run = repository.run(["forget", id(&only)]).code(2);
    assert!(run.stderr.contains("is the last good one of its database"), "{}", run.stderr);
    let run = repository.run(["forget", "0000"]).code(1);
    assert!(run.stderr.contains("does not exist"), "{}", run.stderr);
    let _ = repository.run(["forget", "--keep-tag", "other=1d"]).ok();
    assert_eq!(listed(&repository), [id(&only)]);
}
