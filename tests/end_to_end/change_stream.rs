//! The change stream under a random workload of several sessions: at every moment that is
//! looked at, the database comes back as it was; also when the streamer, the server or the store
//! is killed again and again meanwhile.

use crate::definitions::{Moment, assert_same_schema, is_exact, schema};
use crate::logins::{block_on, settings};
use crate::moments::{TABLES, catch_up, dedicated_with, tables};
use crate::sessions::eventually;
use crate::{repository, repository_in};
use pgkeep_engine::postgres::Session;
use pgkeep_tests::{Bucket, Database, Repository, Server};
use std::io::Write;
use std::mem::ManuallyDrop;
use std::process::{Child, Command, Stdio};

/// Numbers that look random; the same from the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[usize::try_from(self.next(list.len() as u64)).unwrap()]
    }
}

/// The key that keeps the workload from committing while a moment is looked at.
const MOMENT: u32 = 4711;

/// A seed, which is printed: `PGKEEP_SEED` repeats a run.
fn seed() -> u64 {
    let given = std::env::var("PGKEEP_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()) * 2_654_435_761 + 1);
    println!("PGKEEP_SEED={seed}");
    seed
}

fn statement(random: &mut Random) -> String {
    let id = random.next(500) + 1;
    let n = random.next(100);
    let statements = [
        format!(
            "INSERT INTO app.jobs (state, note, body) SELECT 'new', 'w{n}', repeat(md5('{n}'), 150) FROM generate_series(1, {})",
            n % 7 + 1
        ),
        format!("UPDATE app.jobs SET note = note || '{n}' WHERE id % 17 = {}", n % 17),
        format!("UPDATE app.jobs SET body = repeat(md5('{n}'), 120) WHERE id = {id}"),
        format!("UPDATE app.jobs SET id = nextval('app.jobs_id_seq') WHERE id = {id}"),
        format!("DELETE FROM app.jobs WHERE id % 41 = {}", n % 41),
        format!("UPDATE app.pairs SET b = b || '{}', c = {n} WHERE a = {}", n % 3, n % 7),
        format!(
            "INSERT INTO app.pairs VALUES ({}, 'n{id}-{n}', {n}) ON CONFLICT DO NOTHING",
            n % 7
        ),
        format!("DELETE FROM app.pairs WHERE a = {} AND c % 3 = 0", n % 7),
        format!("INSERT INTO app.log SELECT {}, 'same' FROM generate_series(1, {})", n % 5, n % 4),
        format!(
            "DELETE FROM app.log WHERE ctid IN (SELECT ctid FROM app.log WHERE at = {} LIMIT 2)",
            n % 5
        ),
        format!("UPDATE app.log SET line = 'l{}' WHERE at = {}", n % 2, n % 5),
        format!("UPDATE app.whole SET id = id + 1 WHERE id % 5 = {}", n % 5),
        format!("INSERT INTO app.whole VALUES ({n}, repeat('y{n}', 2500))"),
        format!("UPDATE app.unique_key SET code = 'u{id}-{n}' WHERE n = {}", n % 20),
        format!("UPDATE app.parts SET day = (day + {n}) % 20 WHERE n = {n}"),
        format!("INSERT INTO app.parts VALUES ({}, {}) ON CONFLICT DO NOTHING", n % 20, id),
        "TRUNCATE app.log".to_owned(),
        format!("INSERT INTO app.jobs (note) SELECT 'many' FROM generate_series(1, {})", n * 8),
    ];
    // TRUNCATE and the large ones are rare.
    let last = statements.len() as u64;
    let at = if random.next(12) == 0 { random.next(last) } else { random.next(last - 2) };
    statements[usize::try_from(at).unwrap()].clone()
}

/// A change of definitions. What others changed meanwhile may make it fail.
fn definition(random: &mut Random) -> String {
    let n = random.next(6);
    let table = random.of(&["jobs", "pairs", "log", "whole", "unique_key", "parts"]);
    let statements = [
        format!("ALTER TABLE app.{table} ADD COLUMN x{n} int DEFAULT {n}"),
        format!("ALTER TABLE app.{table} ADD COLUMN y{n} text"),
        format!("ALTER TABLE app.{table} DROP COLUMN x{n}"),
        format!("ALTER TABLE app.{table} DROP COLUMN y{n}"),
        format!("ALTER TABLE app.{table} RENAME COLUMN x{n} TO y{n}"),
        format!("ALTER TABLE app.{table} RENAME COLUMN y{n} TO z{n}"),
        format!("ALTER TABLE app.{table} ALTER COLUMN x{n} TYPE text"),
        format!("ALTER TABLE app.{table} ALTER COLUMN y{n} TYPE varchar(99)"),
        format!("ALTER TABLE app.{table} ADD COLUMN r{n} timestamptz DEFAULT clock_timestamp()"),
        format!("CREATE TABLE app.new{n} (id serial PRIMARY KEY, v text)"),
        format!(
            "CREATE TABLE app.bare{n} AS SELECT i, 'b' || i AS v FROM generate_series(1, {n}) i"
        ),
        format!("INSERT INTO app.new{n} (v) SELECT 'v' || i FROM generate_series(1, 5) i"),
        format!("UPDATE app.bare{n} SET v = v || 'u' WHERE i % 2 = 0"),
        format!("DROP TABLE app.new{n}"),
        format!("DROP TABLE app.bare{n}"),
        format!("ALTER TABLE app.bare{n} ADD PRIMARY KEY (i)"),
        format!("ALTER TABLE app.bare{n} DROP CONSTRAINT bare{n}_pkey"),
        format!("CREATE INDEX i{n} ON app.jobs (note)"),
        format!("DROP INDEX app.i{n}"),
        format!("CREATE OR REPLACE VIEW app.v{n} AS SELECT id, note FROM app.jobs"),
        format!("CREATE OR REPLACE FUNCTION app.f{n}() RETURNS int LANGUAGE sql AS 'SELECT {n}'"),
        format!("ALTER TABLE app.parts DETACH PARTITION app.parts_{}", n % 2 + 1),
        "ALTER TABLE app.parts ATTACH PARTITION app.parts_1 FOR VALUES FROM (0) TO (10)".to_owned(),
        "ALTER TABLE app.parts ATTACH PARTITION app.parts_2 FOR VALUES FROM (10) TO (20)"
            .to_owned(),
        format!("COMMENT ON TABLE app.{table} IS 'c{n}'"),
    ];
    statements[usize::try_from(random.next(statements.len() as u64)).unwrap()].clone()
}

fn transaction(random: &mut Random, worker: u64, number: u64, defines: bool) -> String {
    let mut sql = format!("SELECT pg_advisory_lock_shared({MOMENT});\nBEGIN;\n");
    let defines = defines && random.next(6) == 0;
    let statement = |random: &mut Random| match defines && random.next(2) == 0 {
        true => definition(random),
        false => statement(random),
    };
    for _ in 0..=random.next(4) {
        match random.next(5) {
            0 => sql += &format!("SAVEPOINT s;\n{};\nROLLBACK TO s;\n", statement(random)),
            1 => sql += &format!("SAVEPOINT t;\n{};\nRELEASE t;\n", statement(random)),
            // One that fails does not take all others with it.
            2 if defines => {
                sql += &format!("SAVEPOINT u;\n{};\nROLLBACK TO u;\n", definition(random));
            }
            _ => sql += &format!("{};\n", statement(random)),
        }
    }
    let prepared = format!("p{worker}_{number}");
    sql += &match random.next(10) {
        0 => "ROLLBACK;\n".to_owned(),
        1 => format!("PREPARE TRANSACTION '{prepared}';\nCOMMIT PREPARED '{prepared}';\n"),
        2 => format!("PREPARE TRANSACTION '{prepared}';\nROLLBACK PREPARED '{prepared}';\n"),
        _ => "COMMIT;\n".to_owned(),
    };
    sql + &format!("SELECT pg_advisory_unlock_shared({MOMENT});\n")
}

/// What one session does.
pub(crate) fn script(seed: u64, worker: u64, transactions: u64, defines: bool) -> String {
    let mut random = Random(seed + worker * 7919 + 1);
    let mut script = "SET lock_timeout = '2s';\n".to_owned();
    for number in 0..transactions {
        script += &transaction(&mut random, worker, number, defines);
    }
    script
}

/// Sessions that change rows until they are dropped. Errors (a deadlock, a key that is there)
/// only roll a transaction back.
pub(crate) struct Workload(Vec<Child>);

impl Workload {
    fn begin(source: &Database<'_>, seed: u64, transactions: u64, defines: bool) -> Self {
        let scripts = (1..=3).map(|worker| script(seed, worker, transactions, defines));
        Self::run(source, scripts)
    }

    /// One session for each script.
    pub(crate) fn run(source: &Database<'_>, scripts: impl Iterator<Item = String>) -> Self {
        let session = |script: String| {
            let mut psql = source.psql_command();
            let psql =
                psql.args(["-q", "-X", "-f", "-", "-o", "/dev/null", "-v", "ON_ERROR_STOP=0"]);
            let psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = psql.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            std::thread::spawn(move || {
                // The end of the session is the end of its script.
                let _ended = stdin.write_all(script.as_bytes());
            });
            child
        };
        Self(scripts.map(session).collect())
    }

    /// Waits until all is done.
    pub(crate) fn end(mut self) {
        for child in &mut self.0 {
            child.wait().expect("psql to end");
        }
    }

    fn is_over(&mut self) -> bool {
        self.0.iter_mut().all(|child| child.try_wait().unwrap().is_some())
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that is over cannot be killed, and need not be.
            let _over = child.kill();
            let _over = child.wait();
        }
    }
}

/// Waits for all transactions to end, keeps others from beginning, and looks.
fn look(source: &Database<'_>) -> Moment {
    block_on(async {
        let settings = settings(&source.uri()).unwrap();
        let mut holder = Session::connect(&settings, "test").await.unwrap();
        holder.execute(&format!("SELECT pg_advisory_lock({MOMENT})")).await.unwrap();
        let looked = crate::definitions::look(source);
        // Flushes the WAL up to the moment: of a server that is killed, later commits would
        // take the place of what was not.
        holder.execute("SELECT pg_logical_emit_message(true, 'flush', '')").await.unwrap();
        holder.close().await;
        looked
    })
}

/// Waits until the workload has committed more.
fn let_work(source: &Database<'_>, workload: &mut Workload) {
    let xid =
        || source.query("SELECT pg_snapshot_xmax(pg_current_snapshot())").trim().parse::<u64>();
    let before = xid().unwrap();
    while xid().unwrap() < before + 8 && !workload.is_over() {}
}

/// `pgkeep stream` in the background; killed when dropped.
struct Streamer(Child);

impl Streamer {
    fn begin(repository: &Repository, uri: &str) -> Self {
        let mut command: Command = repository.command();
        command.args(["stream", "--quiet", "--segment-seconds", "1", "-d", uri]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Streamer {
    fn drop(&mut self) {
        // SIGKILL: nothing of it ends in good order.
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

fn assert_all_come_back(
    repository: &Repository,
    server: &Server,
    looked: &[Moment],
    schema_too: bool,
) {
    let mut inexact = 0;
    for (number, moment) in looked.iter().enumerate() {
        let copy = server.database();
        let lsn = &moment.known.lsn;
        let is_exact = is_exact(repository, &copy, &["--to-lsn", lsn]);
        inexact += u32::from(!is_exact);
        assert_eq!(tables(&copy), moment.known.tables, "moment {number} at {lsn}");
        if schema_too && is_exact {
            assert_same_schema(&schema(&copy), &moment.schema, &format!("moment {number}"));
        }
        let behind = copy.query(
            "SELECT count(*) FROM app.jobs WHERE id < 100000
             AND id > (SELECT last_value FROM app.jobs_id_seq)",
        );
        assert_eq!(behind.trim(), "0", "moment {number}: the sequence is behind");
    }
    // Until the stream has looked at the definitions anew, which it does at once.
    assert!(inexact * 10 <= u32::try_from(looked.len()).unwrap(), "{inexact} were not exact");
}

/// Settings that have the server send transactions while they run.
const SMALL_MEMORY: [(&str, &str); 1] = [("logical_decoding_work_mem", "64kB")];

fn random_workload_comes_back(source_major: u32, target_major: u32) {
    let seed = seed();
    let server = dedicated_with(source_major, &SMALL_MEMORY);
    let source = server.database();
    source.query(TABLES);
    let repository = repository();
    let _ = repository.run(["setup", "-q", "--keyless", "full", "-d", &source.uri()]).ok();
    let streamer = Streamer::begin(&repository, &source.uri());
    let mut workload = Workload::begin(&source, seed, 10_000, true);
    let_work(&source, &mut workload);
    repository.backup(&source.uri(), &[]);
    let mut known = Vec::new();
    for number in 0..50 {
        let_work(&source, &mut workload);
        known.push(look(&source));
        if number % 17 == 16 {
            // In the middle of the workload: its rows join the changes without a seam.
            repository.backup(&source.uri(), &[]);
        }
    }
    drop(workload);
    drop(streamer);
    catch_up(&repository, &source);
    let streamed = source.query("SELECT stream_txns > 0 FROM pg_stat_replication_slots");
    assert_eq!(streamed.trim(), "t", "no transaction was streamed while it ran");
    let _ = repository.run(["verify", "-q"]).ok();
    let target = Server::shared(target_major);
    assert_all_come_back(&repository, target, &known, source_major == target_major);
}

#[test]
fn random_workload_comes_back_of_postgresql_14() {
    random_workload_comes_back(14, 14);
}

#[test]
fn random_workload_comes_back_of_postgresql_18() {
    random_workload_comes_back(18, 18);
}

#[test]
fn random_workload_of_postgresql_14_comes_back_on_18() {
    random_workload_comes_back(14, 18);
}

/// Ends what killed sessions left prepared, whose locks others would wait for.
fn end_prepared(source: &Database<'_>, random: &mut Random) {
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                    AND application_name = 'psql' AND pid <> pg_backend_pid()";
    eventually(source, sessions, "0");
    for name in source.query("SELECT gid FROM pg_prepared_xacts ORDER BY 1").lines() {
        source.query(&format!("{} PREPARED '{name}'", random.of(&["COMMIT", "ROLLBACK"])));
    }
}

/// The database that outlives its server's kills; it goes with the server.
fn adopt(server: &Server) -> ManuallyDrop<Database<'_>> {
    ManuallyDrop::new(Database::adopt(server, "killed"))
}

#[test]
fn killed_again_and_again_no_commit_is_lost_or_there_twice() {
    let seed = seed();
    let mut random = Random(seed);
    let mut server = dedicated_with(18, &SMALL_MEMORY);
    server.query("CREATE DATABASE killed");
    adopt(&server).query(TABLES);
    let mut bucket = Bucket::start();
    let repository = repository_in(&bucket);
    let uri = server.uri("killed");
    let _ = repository.run(["setup", "-q", "--keyless", "full", "-d", &uri]).ok();
    repository.backup(&uri, &[]);
    let mut known = Vec::new();
    for round in 0..50 {
        let source = adopt(&server);
        end_prepared(&source, &mut random);
        let streamer = Streamer::begin(&repository, &source.uri());
        let mut workload = Workload::begin(&source, seed + round, 40, true);
        for _ in 0..random.next(3) {
            let_work(&source, &mut workload);
        }
        if round % 5 == 4 {
            known.push(look(&source));
        }
        match random.of(&["streamer", "server", "store"]) {
            "server" => {
                drop(workload);
                server.kill();
                drop(streamer);
                server.restart();
            }
            "store" => {
                bucket.kill();
                let_work(&source, &mut workload);
                bucket.restart();
                let_work(&source, &mut workload);
                drop(streamer);
            }
            _ => drop(streamer),
        }
    }
    let source = adopt(&server);
    end_prepared(&source, &mut random);
    known.push(look(&source));
    catch_up(&repository, &source);
    let _ = repository.run(["verify", "-q"]).ok();
    assert_all_come_back(&repository, Server::shared(18), &known, true);
}

/// To ask for the values of sequences locks each for a moment. One that is dropped before the lock is
/// there is gone for the query, and no reason to stop.
#[test]
fn a_stream_goes_on_when_a_sequence_is_dropped_while_it_looks() {
    let server = dedicated_with(18, &[]);
    let source = server.database();
    source.query(
        "CREATE TABLE kept (id serial PRIMARY KEY); CREATE TABLE gone (id serial PRIMARY KEY)",
    );
    let repository = repository();
    let _ = repository.run(["setup", "-q", "-d", &source.uri()]).ok();
    let mut streamer = Streamer::begin(&repository, &source.uri());
    eventually(&source, "SELECT active FROM pg_replication_slots", "t");
    let mut holder = source.psql_command().stdin(Stdio::piped()).spawn().unwrap();
    let mut input = holder.stdin.take().unwrap();
    writeln!(input, "BEGIN; DROP TABLE gone;").unwrap();
    let waits = "SELECT count(*) > 0 FROM pg_locks JOIN pg_stat_activity USING (pid)
                 WHERE NOT granted AND application_name LIKE 'pgkeep%'";
    eventually(&source, waits, "t");
    writeln!(input, "COMMIT;").unwrap();
    drop(input);
    assert!(holder.wait().unwrap().success());
    source.query("INSERT INTO kept DEFAULT VALUES");
    let written = source.query("SELECT pg_current_wal_lsn()");
    let streamed = format!(
        "SELECT confirmed_flush_lsn >= '{}'::pg_lsn FROM pg_replication_slots",
        written.trim()
    );
    eventually(&source, &streamed, "t");
    assert_eq!(streamer.0.try_wait().unwrap(), None, "the stream has ended");
}
