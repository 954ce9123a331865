//! Repositories in a bucket: all that a directory does, and what can be wrong with a bucket.

use crate::moments::{catch_up, dedicated_with, tables};
use crate::{pgkeep, platform, repository, repository_in};
use pgkeep_tests::{Bucket, Outcome, Server};
use std::process::Command;
use std::time::{Duration, Instant};

/// A run that gets to the bucket by these variables alone.
fn run_with(variables: &[(String, String)], arguments: &[&str]) -> Outcome {
    let home = tempfile::tempdir().expect("a home");
    let mut command: Command = pgkeep().command(home.path());
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    Outcome::of(command.args(arguments))
}

#[test]
fn backups_and_changes_come_back_out_of_a_bucket() {
    let bucket = Bucket::start();
    let server = dedicated_with(18, &[]);
    let source = server.database();
    source.load("platform.sql", &[("scale", "0.02")]);
    let repository = repository_in(&bucket);
    let _ = repository.run(["setup", "-q", "--keyless", "full", "-d", &source.uri()]).code(0);
    let first = repository.backup(&source.uri(), &["-j", "2"]);
    let second = repository.backup(&source.uri(), &[]);
    assert!(second["new_chunks"].as_u64() <= Some(2), "{second}");
    assert!(first["new_chunks"].as_u64() > Some(2), "{first}");
    source.query("DELETE FROM jobs WHERE id % 3 = 0");
    catch_up(&repository, &source);
    let copy = server.database();
    repository.restore(&copy.uri(), &["--to-latest", "-j", "2"]);
    assert_eq!(tables(&copy), tables(&source));
    let _ = repository.run(["verify", "-q"]).ok();
    let listed = repository.run(["list", "--json"]).ok().json();
    assert_eq!(listed["location"], "s3://backups/shop");
    assert_eq!(listed["backups"].as_array().map(Vec::len), Some(2));
    assert!(bucket.directory().join("shop/config/00000001").exists());
}

#[test]
fn a_bucket_that_is_away_for_a_while_ends_no_backup() {
    let mut bucket = Bucket::start();
    let source = platform(Server::shared(18), "0.3");
    let repository = repository_in(&bucket);
    for tenth in [1, 3, 5] {
        let mut command = repository.command();
        let backup = command.args(["backup", "-q", "-d", &source.uri()]).spawn();
        let mut backup = backup.expect("pgkeep");
        std::thread::sleep(Duration::from_millis(100 * tenth));
        bucket.kill();
        std::thread::sleep(Duration::from_millis(700));
        bucket.restart();
        assert!(backup.wait().expect("pgkeep to end").success());
        let _ = repository.run(["verify", "-q"]).ok();
    }
    let copy = Server::shared(18).database();
    repository.restore(&copy.uri(), &[]);
    source.assert_same_rows(&copy);
}

#[test]
fn what_is_wrong_with_a_bucket_is_said() {
    let mut bucket = Bucket::start();
    let _repository = repository_in(&bucket);
    let variables = bucket.variables();
    let run = run_with(&variables, &["init", "--repo", "s3://backups/shop"]).code(1);
    assert!(run.stderr.contains("\"s3://backups/shop\" is not empty"), "{}", run.stderr);
    let run = run_with(&variables, &["list", "--repo", "s3://backups/other"]).code(10);
    assert!(run.stderr.contains("pgkeep init --repo s3://backups/other"), "{}", run.stderr);
    let run = run_with(&variables, &["list", "--repo", "s3://gone/shop"]).code(1);
    assert!(run.stderr.contains("Make the bucket first"), "{}", run.stderr);
    let run = run_with(&variables, &["list", "--repo", "s3://"]).code(2);
    assert!(run.stderr.contains("s3://BUCKET/PREFIX"), "{}", run.stderr);

    let secret = |(name, value): &(String, String)| {
        let wrong = name == "AWS_SECRET_ACCESS_KEY";
        (name.clone(), if wrong { "wrong".to_owned() } else { value.clone() })
    };
    let wrong: Vec<_> = variables.iter().map(secret).collect();
    let run = run_with(&wrong, &["list", "--repo", "s3://backups/shop"]).code(1);
    assert!(run.stderr.contains("Check the credentials"), "{}", run.stderr);

    bucket.kill();
    let begun = Instant::now();
    let run = run_with(&variables, &["list", "--json", "--repo", "s3://backups/shop"]).code(1);
    assert!(run.stderr.contains("\"store_unavailable\""), "{}", run.stderr);
    assert!(begun.elapsed() < Duration::from_secs(10), "nobody waits so long");
}

#[test]
fn a_bucket_is_found_by_options_and_by_its_own_variable() {
    let bucket = Bucket::start();
    let endpoint = bucket.endpoint();
    let mut variables = bucket.variables();
    variables.retain(|(name, _)| name != "AWS_ENDPOINT_URL" && name != "AWS_REGION");
    let options = ["--endpoint", &endpoint, "--region", "elsewhere"];
    let init = ["init", "--repo", "s3://backups"].iter().chain(&options).copied();
    let _ = run_with(&variables, &init.collect::<Vec<_>>()).ok();
    variables.push(("BACKUP_BUCKET".to_owned(), "backups".to_owned()));
    let list = ["list", "--json"].iter().chain(&options).copied();
    let listed = run_with(&variables, &list.collect::<Vec<_>>()).ok().json();
    assert_eq!(listed["location"], "s3://backups");
}

#[test]
fn no_more_is_written_and_read_than_the_limits_say() {
    let source = Server::shared(18).database();
    // What no codec makes smaller: 3 MB.
    source.query(
        "CREATE TABLE noise AS SELECT i, decode(string_agg(md5(random()::text), ''), 'hex') AS v
         FROM generate_series(1, 300) i, generate_series(1, 640) j GROUP BY i",
    );
    let bucket = Bucket::start();
    for repository in [repository(), repository_in(&bucket)] {
        let took = |run: &mut dyn FnMut()| {
            let begun = Instant::now();
            run();
            begun.elapsed().as_secs_f64()
        };
        let mut added = 0.0;
        let writing = took(&mut || {
            let limit = ["--limit-upload", "1M", "-j", "2"];
            added = repository.backup(&source.uri(), &limit)["added_bytes"].as_f64().unwrap();
        });
        let megabytes = added / f64::from(1 << 20);
        assert!(megabytes > 2.9, "{megabytes}");
        assert!(writing >= megabytes - 0.25, "{megabytes} MiB were written in {writing} s");
        let copy = source.server().database();
        let reading = took(&mut || {
            let mut command = repository.command();
            command.args(["restore", "-q", "-d", &copy.uri()]);
            let _ = Outcome::of(command.env("PGKEEP_LIMIT_DOWNLOAD", "1500K")).ok();
        });
        assert!(reading >= 2.9 / 1.5 - 0.25, "{reading}");
        source.assert_same_rows(&copy);
        println!("{megabytes:.2} MiB: written in {writing:.2} s, read in {reading:.2} s");
    }
    let run = repository().run(["list", "--limit-download", "fast"]).code(2);
    assert!(run.stderr.contains("such as 500K or 10M"), "{}", run.stderr);
}
