use pgkeep_engine::catalog::{self, Selection};
use pgkeep_engine::postgres::Session;
#[tokio::main]
async fn main() {
    let uri = std::env::args().nth(1).unwrap();
    let session = Session::connect(&uri).await.unwrap();
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET search_path = ''; SET row_security = off").await.unwrap();
    let catalog = catalog::read(&session, &Selection::default()).await.unwrap();
    for w in &catalog.warnings {
        eprintln!("warning: {w}");
    }
    println!("SET search_path = ''; SET check_function_bodies = off;");
    let skip_db = std::env::args().nth(2).as_deref() != Some("--create");
    for (i, e) in catalog.entries.iter().enumerate() {
        if skip_db && (e.kind.as_str().starts_with("DATABASE") || e.name.starts_with("DATABASE ")) {
            continue;
        }
        if std::env::var("SHOW").is_ok() {
            println!(
                "-- {i} {} {:?} {:?} {} drop={:?} deps={:?} of={:?}",
                e.kind,
                e.section,
                e.schema,
                e.name.replace('\n', " "),
                e.drop.as_ref().map(|d| d.replace('\n', " ")),
                e.depends_on,
                e.belongs_to
            );
        }
        println!("{}", e.create);
    }
}
