//! Catalogs read from real servers: what the entries make in an empty database is what
//! `pg_dump` saw in the source, and what they drop is gone. Rows are tested end to end.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pgkeep_engine::catalog::{self, Aspect, Catalog, Selection};
use pgkeep_engine::postgres::{Asked, Session, Settings};
use pgkeep_format::cbor;
use pgkeep_format::entry::{Data, Entry, Kind, Section};
use pgkeep_tests::{Database, Server, every_major};

every_major!(
    objects_come_back_as_pg_dump_saw_them,
    what_entries_drop_is_gone,
    an_ordinary_role_reads_the_same_definitions,
    every_byte_of_large_objects_is_read,
    the_same_schema_gives_the_same_entries_whatever_its_oids,
);

/// A database with every kind of object that has no rows.
fn source(server: &Server) -> Database<'_> {
    let database = server.database();
    database.load("objects.sql", &[]);
    database.load("objects-rare.sql", &[]);
    for (major, fixture) in [(15, "objects-15.sql"), (17, "objects-17.sql"), (18, "objects-18.sql")]
    {
        if server.major() >= major {
            database.load(fixture, &[]);
        }
    }
    database
}

fn read(uri: String) -> Catalog {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let asked = Asked { database: Some(uri), ..Asked::default() };
        let settings = Settings::from_process(&asked).unwrap();
        let session = Session::connect(&settings, "test").await.unwrap();
        let begin = "SET search_path = ''; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        session.execute(begin).await.unwrap();
        // Statistics are about rows, of which there are none here.
        let selection = Selection { without: [Aspect::Statistics].into(), ..Selection::default() };
        catalog::read(&session, &selection).await.unwrap()
    })
}

/// A script of all that can be made from within a database.
fn script(catalog: &Catalog) -> String {
    let mut script = "SET search_path = ''; SET check_function_bodies = off;\n".to_owned();
    for entry in &catalog.entries {
        if entry.kind != Kind::Database {
            script.push_str(&catalog::creation(entry));
            script.push('\n');
        }
    }
    script
}

fn objects_come_back_as_pg_dump_saw_them(server: &Server) {
    let (source, copy) = (source(server), server.database());
    let catalog = read(source.uri());
    assert_eq!(catalog.warnings, Vec::<String>::new());
    copy.query(&script(&catalog));
    source.assert_same_schema(&copy);
}

fn what_entries_drop_is_gone(server: &Server) {
    let source = source(server);
    let catalog = read(source.uri());
    let drops = catalog.entries.iter().rev().filter(|entry| entry.kind != Kind::Database);
    let drops: Vec<&str> = drops.filter_map(|entry| entry.drop.as_deref()).collect();
    assert!(source.schema().contains("CREATE "));
    source.query(&drops.join("\n"));
    let left = source.schema();
    let left: Vec<&str> = left.lines().filter(|line| line.starts_with("CREATE ")).collect();
    assert_eq!(left, Vec::<&str>::new());
    assert_eq!(source.query("SELECT count(*) FROM pg_largeobject_metadata").trim(), "0");
}

fn an_ordinary_role_reads_the_same_definitions(server: &Server) {
    let source = source(server);
    let role = format!("ordinary_{}", source.name());
    source.query(&format!("CREATE ROLE {role} LOGIN"));
    let (all, ordinary) = (read(source.uri()), read(source.uri_of(&role)));
    source.query(&format!("DROP ROLE {role}"));
    // What it may not see, it says so.
    let hidden = |create: &str| create.contains("OPTIONS (\"password\"");
    // Subscriptions are for superusers alone.
    let not_of_subscriptions = |entry: &&Entry| {
        let whole = entry.belongs_to.map_or(*entry, |position| &all.entries[position as usize]);
        whole.kind != Kind::Subscription
    };
    let expected: Vec<&Entry> = all.entries.iter().filter(not_of_subscriptions).collect();
    assert_eq!(expected.len(), ordinary.entries.len());
    for (one, other) in expected.into_iter().zip(&ordinary.entries) {
        assert!(one.create == other.create || hidden(&one.create), "{}", other.create);
    }
    let about = |what: &str| {
        let warnings = ordinary.warnings.iter();
        warnings.filter(|warning| warning.contains(what)).count()
    };
    let subscriptions = all.entries.iter().filter(|entry| entry.kind == Kind::Subscription).count();
    let expected = (2, subscriptions, 2 + subscriptions);
    let told = (about("without options"), about("subscription"), ordinary.warnings.len());
    assert_eq!(told, expected, "{:?}", ordinary.warnings);
}

fn every_byte_of_large_objects_is_read(server: &Server) {
    let source = source(server);
    let catalog = read(source.uri());
    let contents = |table: &&catalog::TableToCopy| {
        catalog.entries[table.entry as usize].kind == Kind::LargeObjectData
    };
    let contents = catalog.tables.iter().find(contents).unwrap();
    let query = contents.rows.query.as_deref().unwrap();
    let read = source.query(&format!(
        "BEGIN READ ONLY; \
         SELECT loid, max(length(data)) <= 1048576, \
                md5(string_agg(data, '' ORDER BY \"offset\")) \
         FROM ({query}) rows GROUP BY loid ORDER BY loid"
    ));
    let expected = source.query(
        "SELECT oid, true, md5(lo_get(oid)) FROM pg_largeobject_metadata \
         WHERE length(lo_get(oid)) > 0 ORDER BY oid",
    );
    assert_eq!(expected.lines().count(), 4);
    assert_eq!(read, expected);
}

/// Creates all objects with as many as may be in the reverse of the catalog's own order, so
/// that nothing has the OID, nor the place among its namesakes, that it had.
fn backwards(catalog: &Catalog) -> String {
    let entries = &catalog.entries;
    // What no dependency tells of: refreshing may need privileges, and the last
    // two change what is made after them.
    let last = [Kind::Acl, Kind::MaterializedViewData, Kind::DefaultAcl, Kind::EventTrigger];
    let in_order = |entry: &Entry| last.iter().any(|kind| entry.kind == *kind);
    let mut script = "SET search_path = ''; SET check_function_bodies = off;\n".to_owned();
    let mut made = vec![false; entries.len()];
    for section in [Section::PreData, Section::Data, Section::PostData] {
        loop {
            let ready = |position: &usize| {
                let entry = &entries[*position];
                let needs = entry.depends_on.iter().chain(&entry.belongs_to);
                entry.section == section
                    && !made[*position]
                    && needs.into_iter().all(|other| made[*other as usize])
            };
            let mut free = (0..entries.len()).rev().filter(ready);
            // Of two unique indexes that a foreign key can stand on, the server takes the older.
            let key = |position: &usize| entries[*position].kind == Kind::Constraint;
            let any = free.clone().find(key);
            let any = any.or_else(|| free.clone().find(|position| !in_order(&entries[*position])));
            let Some(next) = any.or_else(|| free.next_back()) else { break };
            made[next] = true;
            if !of_database(catalog, &entries[next]) {
                script.push_str(&catalog::creation(&entries[next]));
                script.push('\n');
            }
        }
    }
    assert!(made.iter().all(|made| *made));
    script
}

/// Whether an entry is the database itself or speaks of it, and so holds its name.
fn of_database(catalog: &Catalog, entry: &Entry) -> bool {
    let whole = entry.belongs_to.map(|position| &catalog.entries[position as usize]);
    [Some(entry), whole].into_iter().flatten().any(|entry| entry.kind == Kind::Database)
}

/// An entry without the one OID that it may have: changes name their table by it.
fn without_table(entry: &Entry) -> Entry {
    let data = entry.data.clone().map(|data| Box::new(Data { table: None, ..*data }));
    Entry { data, ..entry.clone() }
}

#[track_caller]
fn assert_same_entries(one: &Catalog, other: &Catalog) {
    for (left, right) in one.entries.iter().zip(&other.entries) {
        assert_eq!(left.kind, right.kind);
        if !of_database(one, left) {
            let (left, right) = (without_table(left), without_table(right));
            assert_eq!(left, right);
            assert_eq!(cbor::encode(&left), cbor::encode(&right));
        }
    }
    assert_eq!(one.entries.len(), other.entries.len());
    assert_eq!(one.warnings, other.warnings);
    let rows = |catalog: &Catalog| -> Vec<u32> {
        catalog.tables.iter().map(|table| table.entry).collect()
    };
    assert_eq!(rows(one), rows(other));
}

fn the_same_schema_gives_the_same_entries_whatever_its_oids(server: &Server) {
    let (twins, relations) = (server.database(), server.database());
    twins.load("twins.sql", &[]);
    relations.load_for_version("relations");
    for (source, same_columns) in [(twins, true), (relations, false), (source(server), true)] {
        let original = read(source.uri());
        let (again, reversed) = (server.database(), server.database());
        again.query(&script(&original));
        reversed.query(&backwards(&original));
        let copied = read(again.uri());
        assert_same_entries(&copied, &read(reversed.uri()));
        // A column that a table inherited late stands before its own ones in a copy.
        if same_columns {
            assert_same_entries(&original, &copied);
        }
    }
}
