//! A repository in a bucket that three nodes hold, of which one goes away during every step and
//! comes back.

use crate::moments::{dedicated_with, tables};
use crate::{pgkeep, repository};
use pgkeep_tests::{Garage, NODES, Repository, S3Access, Server};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long it may take until a command has written something.
const WRITE_LIMIT: Duration = Duration::from_secs(60);

/// How long the node that the program talks to is away.
const AWAY: Duration = Duration::from_millis(700);

const SCALE: &str = "0.1";

/// How far a step is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Before,
    Running,
}

type Meanwhile<'a> = &'a mut dyn FnMut(&str, Stage);

/// The steps of a repository's life, in their order, with how long each took.
struct Life<'a> {
    repository: Repository,
    server: &'a Server,
    seconds: Vec<(&'static str, f64)>,
}

impl Life<'_> {
    /// Runs a step; `meanwhile` is told when it is about to begin, and when it has begun.
    fn step(&mut self, name: &'static str, arguments: &[&str], meanwhile: Meanwhile<'_>) {
        meanwhile(name, Stage::Before);
        let begun = Instant::now();
        let mut command = self.repository.command();
        let child = command.args(arguments).arg("-q").stdout(Stdio::null()).spawn();
        let mut child = child.expect("pgkeep");
        let ended = std::thread::spawn(move || {
            let status = child.wait().expect("pgkeep to end");
            (status, begun.elapsed())
        });
        meanwhile(name, Stage::Running);
        let (status, took) = ended.join().expect("pgkeep to end");
        assert!(status.success(), "{name}");
        self.seconds.push((name, took.as_secs_f64()));
    }

    fn live(&mut self, meanwhile: Meanwhile<'_>) {
        let (source, copy) = (self.server.database(), self.server.database());
        source.load("platform.sql", &[("scale", SCALE)]);
        let (from, to) = (source.uri(), copy.uri());
        let _ = self.repository.run(["setup", "-q", "--keyless", "full", "-d", &from]).code(0);
        self.step("backup", &["backup", "-d", &from], meanwhile);
        source.query("DELETE FROM jobs WHERE id % 3 = 0");
        self.step("stream", &["stream", "--until-caught-up", "-d", &from], meanwhile);
        self.step("restore", &["restore", "--to-latest", "-d", &to], meanwhile);
        assert_eq!(tables(&copy), tables(&source));
        self.step("verify", &["verify"], meanwhile);
        source.query("UPDATE transactions SET description = md5(random()::text)");
        self.step("second backup", &["backup", "-d", &from], meanwhile);
        self.step("forget", &["forget", "--keep-last", "1"], meanwhile);
        self.step("prune", &["prune"], meanwhile);
        assert_eq!(self.backups(), 1);
        self.assert_same(&tables(&source));
        let _ = self.repository.run(["teardown", "-q", "-d", &from]).ok();
    }

    fn backups(&self) -> usize {
        let listed = self.repository.run(["list", "--json"]).ok().json();
        listed["backups"].as_array().map(Vec::len).unwrap_or_default()
    }

    /// Compares what is restored with the source, and reads everything.
    fn assert_same(&self, source: &std::collections::BTreeMap<String, pgkeep_tests::Digest>) {
        let _ = self.repository.run(["verify", "-q"]).ok();
        let copy = self.server.database();
        self.repository.restore(&copy.uri(), &["--no-analyze"]);
        assert_eq!(&tables(&copy), source);
    }

    /// The same by other ways to the bucket.
    fn compare_by(&mut self, ways: &[S3Access]) {
        let copy = self.server.database();
        self.repository.restore(&copy.uri(), &["--no-analyze"]);
        let known = tables(&copy);
        for way in ways {
            self.repository.go_by(way);
            self.assert_same(&known);
        }
    }
}

/// Kills and restarts nodes while steps run.
struct Trouble {
    garage: Garage,
}

impl Trouble {
    fn at(&mut self, step: &str, stage: Stage) {
        match (step, stage) {
            ("backup", Stage::Running) => {
                self.wait_for_writes();
                self.garage.kill(1);
            }
            // The stream does with two nodes.
            ("restore", Stage::Before) => self.garage.restart(1),
            ("restore", Stage::Running) => self.garage.kill(2),
            ("verify", Stage::Before) => self.garage.restart(2),
            // The node that the program talks to, which it has reached.
            ("second backup", Stage::Running) => {
                self.wait_for_writes();
                self.garage.kill(0);
                std::thread::sleep(AWAY);
                self.garage.restart(0);
            }
            ("prune", Stage::Before) => self.garage.kill(1),
            ("prune", Stage::Running) => self.garage.restart(1),
            _ => {}
        }
    }

    fn wait_for_writes(&self) {
        let (before, deadline) = (self.garage.data_bytes(1), Instant::now() + WRITE_LIMIT);
        while self.garage.data_bytes(1) <= before {
            assert!(Instant::now() < deadline, "nothing is written");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_repository_outlives_every_node_of_a_cluster_in_turn() {
    let server = dedicated_with(18, &[]);
    let mut local = Life { repository: repository(), server: &server, seconds: Vec::new() };
    local.live(&mut |_, _| {});

    let garage = Garage::start();
    let ways: Vec<S3Access> = (0..NODES).map(|node| garage.access(node)).collect();
    let in_cluster = |prefix: &str| Repository::init_in(&pgkeep(), &ways[0], prefix, &[]);
    let repository = in_cluster("calm");
    let mut calm = Life { repository, server: &server, seconds: Vec::new() };
    calm.live(&mut |_, _| {});

    let repository = in_cluster("shop");
    let mut trouble = Trouble { garage };
    let mut cluster = Life { repository, server: &server, seconds: Vec::new() };
    cluster.live(&mut |step, stage| trouble.at(step, stage));
    // Every node has all of it now, and any one of them can be missing.
    trouble.garage.kill(2);
    cluster.compare_by(&ways[..2]);
    trouble.garage.restart(2);
    trouble.garage.kill(0);
    cluster.compare_by(&ways[1..]);

    println!("{:<14} {:>9} {:>9} {:>9}", "seconds", "directory", "cluster", "a node gone");
    for (number, (name, directory)) in local.seconds.iter().enumerate() {
        let (calm, gone) = (calm.seconds[number].1, cluster.seconds[number].1);
        println!("{name:<14} {directory:>9.2} {calm:>9.2} {gone:>9.2}");
    }
}
