//! Prints the SQL of all entries of a database in order, as a script: `entries URI`.
//!
//! Rows are not part of it. With `--list`, prints what each entry is and depends on; with
//! `--drop`, the SQL that drops all entries, the last one first.

use pgkeep_engine::Result;
use pgkeep_engine::catalog::{self, Selection};
use pgkeep_engine::postgres::{Asked, Session, Settings};
use pgkeep_format::entry::{Entry, Kind};
use std::io::Write as _;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (print, uri): (fn(&[Entry]) -> String, &String) = match arguments.as_slice() {
        [uri] => (script, uri),
        [flag, uri] if flag == "--list" => (list, uri),
        [flag, uri] if flag == "--drop" => (drops, uri),
        _ => {
            let _ = writeln!(std::io::stderr(), "usage: entries [--list | --drop] URI");
            return ExitCode::from(2);
        }
    };
    match run(uri, print).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:?}");
            ExitCode::FAILURE
        }
    }
}

async fn run(uri: &str, print: fn(&[Entry]) -> String) -> Result<()> {
    let asked = Asked { database: Some(uri.to_owned()), ..Asked::default() };
    let session = Session::connect(&Settings::from_process(&asked)?, "entries").await?;
    session
        .execute("SET search_path = ''; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    let catalog = catalog::read(&session, &Selection::default()).await?;
    let mut text = String::new();
    for warning in &catalog.warnings {
        text += &format!("-- warning: {}\n", warning.replace('\n', " "));
    }
    text += &print(&catalog.entries);
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn script(entries: &[Entry]) -> String {
    within(entries).map(|entry| format!("{}\n", entry.create.trim_end())).collect()
}

fn drops(entries: &[Entry]) -> String {
    let drops = within(entries).rev().filter_map(|entry| entry.drop.as_ref());
    drops.map(|drop| format!("{drop}\n")).collect()
}

/// The entries but for the database itself, which a script cannot make from within.
fn within(entries: &[Entry]) -> impl DoubleEndedIterator<Item = &Entry> {
    entries.iter().filter(|entry| entry.kind != Kind::Database)
}

fn list(entries: &[Entry]) -> String {
    let lines = entries.iter().enumerate().map(|(position, entry)| {
        format!(
            "{position} {:?} {} {:?} {:?} depends on {:?} belongs to {:?} drop {:?}\n",
            entry.section,
            entry.kind,
            entry.schema,
            entry.name,
            entry.depends_on,
            entry.belongs_to,
            entry.drop
        )
    });
    lines.collect()
}
