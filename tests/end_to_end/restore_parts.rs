//! A part of a database comes with what it needs, or it is said what is missing; what is replaced
//! is replaced together, and all else is left alone.

use crate::{platform, repository};
use pgkeep_tests::{Database, Server, every_major};

every_major!(
    table_comes_with_what_it_needs,
    groups_are_replaced_each_by_itself_and_what_stands_on_them_is_named,
    group_that_cannot_be_replaced_stays_as_it_was,
);

/// Tables and views of a database, in a line each.
fn relations(database: &Database<'_>) -> String {
    database.query(
        "SELECT c.oid::regclass FROM pg_class c WHERE relkind IN ('r', 'p', 'v', 'm')
         AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
         ORDER BY c.oid::regclass::text COLLATE \"C\"",
    )
}

fn texts(values: &serde_json::Value) -> String {
    values.to_string()
}

const NEEDY: &str = "
    CREATE SCHEMA app; CREATE EXTENSION citext SCHEMA app;
    CREATE TYPE app.state AS ENUM ('on', 'off');
    CREATE DOMAIN app.positive AS int CHECK (VALUE > 0);
    CREATE COLLATION app.plain (LOCALE = 'C');
    CREATE SEQUENCE app.numbers START 100;
    CREATE FUNCTION app.small(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 1000';
    CREATE FUNCTION app.small(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
    CREATE FUNCTION app.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TABLE app.other (id int PRIMARY KEY);
    CREATE TABLE app.unrelated (id int);
    CREATE TABLE app.main (
        id int DEFAULT nextval('app.numbers') PRIMARY KEY CHECK (app.small(id)), s app.state,
        p app.positive, t text COLLATE app.plain, e app.citext, other int REFERENCES app.other);
    CREATE TRIGGER note BEFORE UPDATE ON app.main FOR EACH ROW EXECUTE FUNCTION app.note();
    INSERT INTO app.other VALUES (1);
    INSERT INTO app.main (s, p, t, e, other) SELECT 'on', i, 't', 'E', 1 FROM generate_series(1, 9) i;
    CREATE TABLE app.split (id int, at int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE TABLE app.split_1 PARTITION OF app.split FOR VALUES FROM (0) TO (10);
    CREATE TABLE app.split_2 PARTITION OF app.split FOR VALUES FROM (10) TO (20);
    INSERT INTO app.split SELECT i, i FROM generate_series(0, 19) i;
    CREATE VIEW app.others AS SELECT * FROM app.other;
    CREATE PUBLICATION told FOR TABLE app.other, app.unrelated;";

fn table_comes_with_what_it_needs(server: &Server) {
    let source = server.database();
    source.query(NEEDY);
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = server.database();
    // A function of that name with other arguments is another function.
    copy.query(
        "CREATE SCHEMA app;
         CREATE FUNCTION app.small(text) RETURNS boolean LANGUAGE sql AS 'SELECT false'",
    );
    let restore = |options: &[&str]| {
        let uri = copy.uri();
        let run = repository.run(["restore", "--json", "-d", &uri].iter().chain(options));
        run.code(3).json()
    };
    let report = restore(&["-t", "app.main"]);
    let left_out = &report["databases"][0]["left_out"];
    assert_eq!(left_out[0]["name"], "app.main_other_fkey");
    assert_eq!(left_out[0]["needs"], "TABLE app.other");
    assert_eq!(left_out.as_array().unwrap().len(), 1, "{left_out}");
    assert!(texts(&report["warnings"]).contains("app.main_other_fkey"), "{report}");
    assert_eq!(relations(&copy), "app.main\n");
    let (rows, copied) = (source.digests(), copy.digests());
    assert_eq!(rows["app.main"], copied["app.main"]);
    assert_eq!(rows["app.numbers"], copied["app.numbers"], "numbers would come twice");
    copy.query("INSERT INTO app.main (s, p) VALUES ('off', 1)");

    // A partition comes with its partitioned table, and is attached.
    let report = restore(&["-t", "app.split_1"]);
    assert!(texts(&report["warnings"]).contains("TABLE app.split comes without"), "{report}");
    assert_eq!(copy.query("SELECT count(*) FROM app.split"), "10\n");

    // With the other table there, the foreign key comes too; what it lacks was said before.
    let report = restore(&["-t", "app.other"]);
    assert!(texts(&report["warnings"]).contains("app.main_other_fkey"), "{report}");
    let kept = copy.query("DROP TABLE app.main; SELECT count(*) FROM app.other");
    assert_eq!(kept, "1\n");
    let report = repository.restore(&copy.uri(), &["-t", "app.main"]);
    assert_eq!(report["databases"][0]["left_out"].as_array().unwrap().len(), 0, "{report}");
    let definition = ["--schema-only", "-t", "app.main"];
    pgkeep_tests::assert_same_text(&source.dump(&definition), &copy.dump(&definition));
}

#[test]
fn what_is_missing_is_named_before_anything_is_changed() {
    let server = Server::shared(18);
    let source = server.database();
    source.query(NEEDY);
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = server.database();
    let refused = repository.run(["restore", "-d", &copy.uri(), "-T", "app.other"]).code(1);
    for named in ["VIEW app.others", "TABLE app.other"] {
        assert!(refused.stderr.contains(named), "{named} is not named: {}", refused.stderr);
    }
    assert_eq!(relations(&copy), "");
    // Without the view too, all is well but for the foreign key and the publication's member.
    let options = ["-T", "app.other", "-T", "app.others"];
    let run = repository.run(["restore", "--json", "-d", &copy.uri()].iter().chain(&options));
    let report = run.code(3).json();
    let left_out = report["databases"][0]["left_out"].as_array().unwrap();
    let kinds: Vec<_> = left_out.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["FK CONSTRAINT", "PUBLICATION TABLE"], "{report}");
    let published = "SELECT tablename FROM pg_publication_tables WHERE pubname = 'told'";
    assert_eq!(copy.query(published), "unrelated\n");
    assert_eq!(copy.digests()["app.main"], source.digests()["app.main"]);
}

fn groups_are_replaced_each_by_itself_and_what_stands_on_them_is_named(server: &Server) {
    let source = platform(server, "0.005");
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let rows = source.digests();
    source.query(
        "UPDATE jobs SET attempts = 99; UPDATE schedules SET every = '9 days';
         UPDATE clients SET name = 'later' WHERE id = 1001;
         CREATE TABLE newer (client bigint REFERENCES clients)",
    );
    let changed = source.digests();
    let clean = ["restore", "-d", &source.uri(), "--clean", "--if-exists"].map(str::to_owned);
    let run = |more: &[&str]| {
        repository.run(clean.iter().map(String::as_str).chain(more.iter().copied()))
    };
    let refused = run(&["-t", "jobs", "-t", "schedules"]).code(1);
    for told in ["view public.open_jobs", "-t public.open_jobs", "Nothing was changed"] {
        assert!(refused.stderr.contains(told), "{told} is not named: {}", refused.stderr);
    }
    let refused = run(&["-t", "clients"]).code(1);
    assert!(refused.stderr.contains("newer_client_fkey"), "{}", refused.stderr);
    assert_eq!(source.digests(), changed, "something was changed");
    let _ = run(&["-t", "jobs", "-t", "public.open_jobs", "-t", "schedules"]).ok();
    let restored = source.digests();
    assert_eq!(restored["public.jobs"], rows["public.jobs"]);
    assert_eq!(restored["public.schedules"], rows["public.schedules"]);
    assert_eq!(restored["public.clients"], changed["public.clients"], "another table was touched");
}

fn group_that_cannot_be_replaced_stays_as_it_was(server: &Server) {
    let source = server.database();
    source.query(
        "CREATE TABLE one (id int PRIMARY KEY); CREATE VIEW one_view AS SELECT * FROM one;
         CREATE TABLE two (id int PRIMARY KEY); INSERT INTO one VALUES (1); INSERT INTO two VALUES (1)",
    );
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    source.query("INSERT INTO one VALUES (2); INSERT INTO two VALUES (2)");
    let mut psql = source.psql_command();
    psql.args(["-c", "BEGIN; SELECT FROM one; SELECT pg_sleep(120)"]);
    let mut reader = psql.stdout(std::process::Stdio::null()).spawn().unwrap();
    let held = "SELECT count(*) FROM pg_locks WHERE relation = 'one'::regclass AND granted";
    while source.query(held) == "0\n" {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let options = ["--clean", "--lock-timeout", "200ms"];
    let run = repository.run(["restore", "--json", "-d", &source.uri()].iter().chain(&options));
    reader.kill().unwrap();
    reader.wait().unwrap();
    let report = run.code(1).json();
    let failed = report["databases"][0]["failed"].as_array().unwrap().clone();
    let cause = failed.iter().find(|one| one["skipped"] == false).unwrap();
    assert_eq!(cause["sqlstate"], "55P03", "{report}");
    assert!(failed.iter().all(|one| one["name"].as_str().unwrap().contains("one")), "{report}");
    // The view still stands on the table, and nobody put rows into it.
    assert_eq!(source.query("SELECT count(*) FROM one_view"), "2\n");
    assert_eq!(source.query("SELECT count(*) FROM two"), "1\n");
}
