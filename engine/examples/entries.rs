//! Prints the SQL of all entries of a database in order, as a script. Rows are not part
//! of it.
//!
//! ```text
//! entries [--list | --drop] [-n SCHEMA] [-N SCHEMA] [-t TABLE] [-T TABLE]
//!         [--exclude-table-data TABLE] [-s] [-a] URI
//! ```
//!
//! With `--list`, prints what each entry is and depends on; with `--drop`, the SQL that
//! drops all entries, the last one first.

use pgkeep_engine::Result;
use pgkeep_engine::catalog::{self, Aspect, Selection};
use pgkeep_engine::postgres::{Asked, Session, Settings};
use pgkeep_format::entry::{Entry, Kind};
use std::io::Write as _;
use std::process::ExitCode;

type Print = fn(&[Entry]) -> String;

#[tokio::main]
async fn main() -> ExitCode {
    let Some((print, selection, uri)) = arguments() else {
        let _ = writeln!(std::io::stderr(), "usage: see the head of entries.rs");
        return ExitCode::from(2);
    };
    match run(&uri, &selection, print).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:?}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Option<(Print, Selection, String)> {
    let mut print: Print = script;
    let mut selection = Selection::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => print = list,
            "--drop" => print = drops,
            "-n" => selection.schemas.push(arguments.next()?),
            "-N" => selection.exclude_schemas.push(arguments.next()?),
            "-t" => selection.tables.push(arguments.next()?),
            "-T" => selection.exclude_tables.push(arguments.next()?),
            "--exclude-table-data" => selection.exclude_table_data.push(arguments.next()?),
            "-s" => _ = selection.without.insert(Aspect::Rows),
            "-a" => _ = selection.without.insert(Aspect::Definitions),
            _ => return arguments.next().is_none().then_some((print, selection, argument)),
        }
    }
    None
}

async fn run(uri: &str, selection: &Selection, print: Print) -> Result<()> {
    let asked = Asked { database: Some(uri.to_owned()), ..Asked::default() };
    let session = Session::connect(&Settings::from_process(&asked)?, "entries").await?;
    session
        .execute("SET search_path = ''; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    let catalog = catalog::read(&session, selection).await?;
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
