//! A stranger's program reads a backup: the Python reader, which was written from FORMAT.md
//! alone and shares no line with pgkeep, gives the same CSV as the server itself.

use crate::{pgkeep, platform, repository};
use pgkeep_tests::{Database, Outcome, Repository, Server, every_major};
use std::path::{Path, PathBuf};
use std::process::Command;

every_major!(platform_is_read_by_a_stranger);

fn platform_is_read_by_a_stranger(server: &Server) {
    let source = platform(server, "0.02");
    let repository = repository();
    let _ = repository.backup(&source.uri(), &[]);
    let file = repository.directory().with_extension("pgkeep");
    let file_name = file.to_str().expect("a path in UTF-8");
    let _ = repository.run(["backup", "-d", &source.uri(), "--file", file_name]).ok();
    let tables = tables(&source);
    assert!(tables.len() >= 6, "{tables:?}");
    for place in [repository.directory(), file] {
        compare(&source, &tables, &place, &repository.identity());
    }
}

#[test]
fn every_type_and_every_odd_name_is_read_by_a_stranger() {
    let source = Server::shared(18).database();
    source.load("types.sql", &[]);
    let repository = repository();
    let _ = repository.backup(&source.uri(), &[]);
    compare(&source, &tables(&source), &repository.directory(), &repository.identity());
}

#[test]
fn a_repository_that_is_not_encrypted_is_read_by_a_stranger() {
    let source = Server::shared(18).database();
    source
        .query("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, NULL), (2, ''), (3, 'x')");
    let repository = Repository::init_with(&pgkeep(), &["--no-encryption"]);
    let _ = repository.backup(&source.uri(), &[]);
    compare(&source, &tables(&source), &repository.directory(), &repository.identity());
}

#[test]
fn a_stranger_is_told_when_a_byte_was_changed() {
    let source = Server::shared(18).database();
    source.query("CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 1000) i");
    let repository = repository();
    // The table's rows are what a pack begins with.
    let _ = repository.backup(&source.uri(), &["--no-globals"]);
    let files = repository.files();
    let pack = files.iter().find(|path| path.to_string_lossy().contains("/packs/"));
    let pack = pack.expect("a pack");
    let mut bytes = std::fs::read(pack).expect("the pack's bytes");
    bytes[200] ^= 1;
    std::fs::write(pack, bytes).expect("a changed pack");
    let place = repository.directory();
    let id = newest_backup(&place, &repository.identity());
    let said = reader(&place, &repository.identity(), &["csv", &id, "public.t"]).code(1).stderr;
    assert!(said.contains("wrong checksum") && !said.contains("Traceback"), "{said}");
}

#[test]
fn changes_are_read_by_a_stranger_as_pgkeep_reads_them() {
    let settings = [("logical_decoding_work_mem", "64kB")];
    let server = crate::moments::dedicated_with(18, &settings);
    let source = server.database();
    source.query(
        "CREATE TABLE t (id int PRIMARY KEY, body text, n int);
         ALTER TABLE t ALTER body SET STORAGE EXTERNAL;
         CREATE TABLE u (n int, v text)",
    );
    let repository = repository();
    let _ = repository.run(["setup", "-q", "--keyless", "full", "-d", &source.uri()]).ok();
    for change in [
        "INSERT INTO t SELECT i, repeat('b', 3000), i FROM generate_series(1, 20) i",
        "UPDATE t SET n = NULL WHERE id % 2 = 0; UPDATE t SET id = id + 100 WHERE id % 5 = 0",
        "BEGIN; SAVEPOINT s; INSERT INTO t SELECT i, '', 0 FROM generate_series(1000, 9000) i;
           ROLLBACK TO s; INSERT INTO t SELECT i, '', 0 FROM generate_series(2000, 9000) i; COMMIT",
        "INSERT INTO u VALUES (1, E'tab\\t, newline\\n, \\\\N'), (NULL, ''); DELETE FROM u WHERE n = 1",
        "ALTER TABLE t RENAME n TO number; DELETE FROM t WHERE id = 105; TRUNCATE u",
    ] {
        source.query(change);
    }
    crate::moments::catch_up(&repository, &source);
    let (place, identity) = (repository.directory(), repository.identity());
    let fields = ["xid", "action", "old", "new", "unchanged"];
    let parsed = |text: String| -> Vec<serde_json::Value> {
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        lines.collect()
    };
    for (table, least) in [("t", 7000), ("u", 4)] {
        let name = format!("public.{table}");
        let read = parsed(reader(&place, &identity, &["changes", "", &name]).ok().stdout_text());
        let mut told = parsed(repository.run(["log", "--json", "-t", table]).ok().stdout_text());
        assert_eq!(told.pop().expect("a summary")["message_type"], "summary");
        told.reverse();
        assert!(read.len() >= least, "{} changes", read.len());
        assert_eq!(read.len(), told.len());
        for (read, told) in read.iter().zip(&told) {
            assert!(fields.iter().all(|field| read[field] == told[field]), "{read}\n{told}");
        }
    }
}

/// A table and the columns that a backup has rows of.
#[derive(Debug)]
struct Table {
    schema: String,
    name: String,
    copy: String,
}

fn tables(source: &Database<'_>) -> Vec<Table> {
    let rows = source.query(
        "SELECT json_agg(json_build_array(n.nspname, c.relname, format('%I.%I', n.nspname, \
                    c.relname) || coalesce(' (' || a.columns || ')', ''))) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN LATERAL (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) \
                AS columns FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 \
                AND NOT attisdropped AND attgenerated = '') a ON true \
         WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')",
    );
    let rows: Vec<[String; 3]> = serde_json::from_str(&rows).expect("tables as JSON");
    rows.into_iter().map(|[schema, name, copy]| Table { schema, name, copy }).collect()
}

/// Compares all tables, byte by byte.
fn compare(source: &Database<'_>, tables: &[Table], place: &Path, identity: &Path) {
    assert!(!tables.is_empty());
    let id = newest_backup(place, identity);
    for table in tables {
        let name = format!("{}.{}", table.schema, table.name);
        let read = reader(place, identity, &["csv", &id, &name]).ok().stdout;
        let said = server_csv(source, &table.copy);
        assert!(read == said, "{name} differs:\n{}\n{}", start(&read), start(&said));
    }
}

fn start(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(1000)]).into_owned()
}

/// What the server writes of a table, with the settings that rows are read with.
fn server_csv(source: &Database<'_>, table: &str) -> Vec<u8> {
    let mut command = source.psql_command();
    let settings = "-c DateStyle=ISO -c IntervalStyle=postgres -c TimeZone=UTC \
                    -c extra_float_digits=3 -c synchronize_seqscans=off";
    command.env("PGOPTIONS", settings);
    command.arg("-c").arg(format!("COPY {table} TO STDOUT (FORMAT csv)"));
    Outcome::of(&mut command).ok().stdout
}

fn newest_backup(place: &Path, identity: &Path) -> String {
    let listed = reader(place, identity, &["list"]).ok().stdout_text();
    let last = listed.lines().last().expect("a backup");
    last.split(' ').next().expect("an id").to_owned()
}

/// Runs the reader. Its libraries are where `make tools` puts them, unless PYTHONPATH or the
/// system has them.
fn reader(place: &Path, identity: &Path, arguments: &[&str]) -> Outcome {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new("python3");
    if std::env::var_os("PYTHONPATH").is_none() {
        command.env("PYTHONPATH", root.join(".pgkeep-dev/tools/python"));
    }
    command.arg("-B").arg(root.join("format-spec/reader/pgkeep_reader.py"));
    command.arg(place).arg("--identity").arg(identity).args(arguments);
    Outcome::of(&mut command)
}
