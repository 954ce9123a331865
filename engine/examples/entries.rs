//! Prints the SQL of all entries of a database in order, as a script: `entries URI`.
//!
//! Rows are not part of it. With `--list`, prints what each entry is and depends on.

use pgkeep_engine::Result;
use pgkeep_engine::catalog::{self, Selection};
use pgkeep_engine::postgres::Session;
use std::io::Write as _;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (list, uri) = match arguments.as_slice() {
        [uri] => (false, uri),
        [flag, uri] if flag == "--list" => (true, uri),
        _ => {
            let _ = writeln!(std::io::stderr(), "usage: entries [--list] URI");
            return ExitCode::from(2);
        }
    };
    match print(uri, list).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:?}");
            ExitCode::FAILURE
        }
    }
}

async fn print(uri: &str, list: bool) -> Result<()> {
    let session = Session::connect(uri).await?;
    session
        .execute("SET search_path = ''; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    let catalog = catalog::read(&session, &Selection::default()).await?;
    let mut text = String::new();
    for warning in &catalog.warnings {
        text += &format!("-- warning: {}\n", warning.replace('\n', " "));
    }
    for (position, entry) in catalog.entries.iter().enumerate() {
        if list {
            text += &format!(
                "{position} {:?} {} {:?} {:?} depends on {:?} belongs to {:?} drop {:?}\n",
                entry.section,
                entry.kind,
                entry.schema,
                entry.name,
                entry.depends_on,
                entry.belongs_to,
                entry.drop
            );
        } else {
            text += &format!("{}\n", entry.create.trim_end());
        }
    }
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}
