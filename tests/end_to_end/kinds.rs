//! The fixtures hold something of every kind that a backup knows and the server can have, and a
//! backup holds as many objects of each kind as `pg_dump` finds. A fixture that forgets a kind
//! fails here, and so does a kind that the catalogs' readers forget.

use crate::repository;
use pgkeep_format::entry::Kind;
use pgkeep_tests::{Database, MAJORS, Server, every_major};
use std::collections::BTreeMap;
use std::process::Command;

every_major!(
    fixtures_hold_every_kind,
    backup_holds_as_many_of_each_kind_as_pg_dump,
    circles_come_back,
);

/// Everything that the fixtures know, in one database that has statistics.
fn everything(server: &Server) -> Database<'_> {
    let source = server.database();
    source.load_for_version("relations");
    source.load_for_version("objects");
    source.load("objects-rare.sql", &[]);
    source.load("objects-foreign.sql", &[]);
    source.query(&format!("ALTER DATABASE {} SET work_mem = '9MB'", source.name()));
    source.query(
        "SET allow_system_table_mods = on;
         INSERT INTO pg_seclabel VALUES ('rel.plain'::regclass, 'pg_class'::regclass, 0, 'p', 'l')",
    );
    // The wrappers of foreign tables are none that could be asked.
    source.query(
        "DO $$ DECLARE t regclass; BEGIN
           FOR t IN SELECT oid FROM pg_class WHERE relkind IN ('r', 'm') AND oid >= 16384
             AND relnamespace NOT IN ('far'::regnamespace, 'pg_toast'::regnamespace)
           LOOP EXECUTE format('ANALYZE %s', t); END LOOP;
         END $$",
    );
    source
}

/// How many entries of each kind a backup holds, of the database itself too.
fn counts(source: &Database<'_>) -> BTreeMap<String, usize> {
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    // The newest server takes all kinds; nothing is restored.
    let target = Server::shared(MAJORS[MAJORS.len() - 1]).database();
    let planned = repository.restore(&target.uri(), &["--dry-run"]);
    let listed = repository.run(["ls", "--json"]).ok().json();
    let of_database = listed["objects"].as_array().unwrap().iter();
    let of_database =
        of_database.filter(|object| object["kind"].as_str().unwrap().starts_with("DATABASE"));
    let mut counts = BTreeMap::new();
    for entry in planned["databases"][0]["entries"].as_array().unwrap().iter().chain(of_database) {
        *counts.entry(entry["kind"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

fn fixtures_hold_every_kind(server: &Server) {
    let counts = counts(&everything(server));
    let missing: Vec<_> = Kind::ALL
        .iter()
        .filter(|kind| **kind != Kind::PublicationSchema || server.major() >= 15)
        .filter(|kind| !OF_THE_SERVER.contains(kind) && !counts.contains_key(kind.as_str()))
        .collect();
    assert!(missing.is_empty(), "nothing of {missing:?}");
}

/// Kinds that belong to no database: `globals` tests them.
const OF_THE_SERVER: &[Kind] = &[
    Kind::Role,
    Kind::RoleAttributes,
    Kind::RoleMembership,
    Kind::RoleSetting,
    Kind::Tablespace,
    Kind::TablespaceOptions,
];

/// Kinds that only one of both has, or that are counted otherwise: parts of a table that stand
/// alone or do not, statistics of what was never analyzed, large objects by owner and number, what
/// every database has.
const COUNTED_OTHERWISE: &[&str] = &[
    "BLOBS",
    "DATABASE",
    "DATABASE PROPERTIES",
    "EXTENSION",
    "SCHEMA",
    "DEFAULT",
    "CHECK CONSTRAINT",
    "STATISTICS DATA",
    "OWNER",
    "ENCODING",
    "STDSTRINGS",
    "SEARCHPATH",
];

/// Comments on a multirange and on a row type, privileges on a language of the server's own.
const LEFT_OUT_BY_PG_DUMP: &[(&str, usize)] = &[("COMMENT", 2), ("ACL", 1)];

fn backup_holds_as_many_of_each_kind_as_pg_dump(server: &Server) {
    let source = everything(server);
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("archive");
    let mut dump = server.client_program("pg_dump");
    dump.args(["-Fc", "-C", "--statistics", "-d", source.name(), "-f"]).arg(&archive);
    run(&mut dump);
    let list = run(server.client_program("pg_restore").arg("-l").arg(&archive));
    let mut theirs: BTreeMap<String, usize> = BTreeMap::new();
    for line in list.lines().filter(|line| !line.starts_with(';')) {
        // A type that has only a name is one of the types there.
        let kind = kind_of(line).replace("SHELL TYPE", "TYPE");
        *theirs.entry(kind).or_default() += 1;
    }
    let mut ours = counts(&source);
    let shells = ours.remove("SHELL TYPE").unwrap_or(0);
    *ours.entry("TYPE".to_owned()).or_default() += shells;
    for (kind, more) in LEFT_OUT_BY_PG_DUMP {
        *theirs.entry((*kind).to_owned()).or_default() += more;
    }
    for kind in COUNTED_OTHERWISE {
        theirs.remove(*kind);
        ours.remove(*kind);
    }
    let kinds: std::collections::BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    let differing: Vec<_> = kinds
        .into_iter()
        .filter(|kind| theirs.get(*kind) != ours.get(*kind))
        .map(|kind| format!("{kind}: {:?}, pg_dump {:?}", ours.get(kind), theirs.get(kind)))
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// The kind in a line of `pg_restore -l`: `12; 1259 16384 TABLE DATA public t postgres`.
fn kind_of(line: &str) -> String {
    let rest: Vec<_> = line.split(' ').skip(3).collect();
    let rest = rest.join(" ");
    let known = Kind::ALL.iter().map(|kind| kind.as_str()).chain(COUNTED_OTHERWISE.iter().copied());
    let fits = known.filter(|kind| rest.starts_with(&format!("{kind} ")));
    let longest = fits.max_by_key(|kind| kind.len());
    longest.unwrap_or_else(|| panic!("unknown kind: {line}")).to_owned()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn circles_come_back(server: &Server) {
    let source = server.database();
    source.load("circles.sql", &[]);
    let repository = repository();
    repository.backup(&source.uri(), &[]);
    let copy = server.database();
    repository.restore(&copy.uri(), &[]);
    source.assert_same_rows(&copy);
    source.assert_same_schema(&copy);
    // What was made late can be dropped and made again.
    repository.restore(&copy.uri(), &["--clean"]);
    source.assert_same_rows(&copy);
    source.assert_same_schema(&copy);
}
