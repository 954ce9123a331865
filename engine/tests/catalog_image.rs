//! Catalog images: what is read from one is what is read from the server in the same snapshot.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pgkeep_engine::catalog::{self, Aspect, Catalog, Selection, SequenceStates};
use pgkeep_engine::postgres::{Asked, Session, Settings, Snapshot, SnapshotOptions, qualified};
use pgkeep_format::catalog_image::CatalogImage;
use pgkeep_tests::{Database, Server, every_major};

every_major!(a_catalog_read_from_an_image_is_the_one_that_the_server_has);

fn settings(uri: String) -> Settings {
    Settings::from_process(&Asked { database: Some(uri), ..Asked::default() }).unwrap()
}

/// A database with every kind of object.
fn source(server: &Server) -> Database<'_> {
    let source = server.database();
    source.load_for_version("relations");
    source.load_for_version("objects");
    source.load("objects-rare.sql", &[]);
    source.load("objects-foreign.sql", &[]);
    source
}

/// What an image can tell: not large objects, nor optimizer statistics.
fn selection() -> Selection {
    Selection {
        large_objects: Some(false),
        without: [Aspect::Statistics].into(),
        ..Selection::default()
    }
}

async fn sequences(session: &Session) -> SequenceStates {
    let sql = "SELECT c.oid, n.nspname, c.relname FROM pg_class c
               JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind = 'S' AND c.relpersistence <> 't'";
    let mut states = SequenceStates::new();
    for row in session.query(sql).await.unwrap() {
        let name = qualified(row.text("nspname").unwrap(), row.text("relname").unwrap());
        let state = session.query(&format!("SELECT last_value, is_called FROM {name}")).await;
        let state = state.unwrap();
        let value = state[0].parse("last_value").unwrap();
        states.insert(row.parse("oid").unwrap(), (value, state[0].bool("is_called").unwrap()));
    }
    states
}

/// The catalog as the server has it, and as its image has it, which was bytes in between.
async fn both(uri: String) -> (Catalog, Catalog) {
    let snapshot = Snapshot::open(&settings(uri), &SnapshotOptions::default()).await.unwrap();
    let live = catalog::read(snapshot.session(), &selection()).await.unwrap();
    let image = catalog::read_image(snapshot.session()).await.unwrap();
    assert_eq!(image.snapshot, snapshot.xids());
    let image = CatalogImage::decode(&image.encode()).unwrap();
    let sequences = sequences(snapshot.session()).await;
    let replayed = catalog::read_from_image(&image, &selection(), sequences).await.unwrap();
    (live, replayed)
}

fn assert_same(uri: String) -> usize {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut live, replayed) = runtime.block_on(both(uri));
    assert_eq!(live.database, replayed.database);
    for (live, replayed) in live.entries.iter().zip(&replayed.entries) {
        assert_eq!(live, replayed);
    }
    assert_eq!(live.entries.len(), replayed.entries.len());
    // How large a table is changes without DDL.
    for table in &mut live.tables {
        table.rows.pages = 0;
        table.rows.toast_pages = 0;
    }
    assert_eq!(live.tables, replayed.tables);
    replayed.entries.len()
}

fn a_catalog_read_from_an_image_is_the_one_that_the_server_has(server: &Server) {
    assert!(assert_same(source(server).uri()) > 500);
}

#[test]
fn the_regression_database_read_from_an_image_is_the_one_that_the_server_has() {
    let server = Server::regression();
    let entries = assert_same(Database::adopt(&server, "regression").uri());
    assert!(entries > 2000, "{entries} entries are few");
}
