//! `pgkeep ls`: the objects of a backup, in the order in which they are restored.
//!
//! Rows and values are shown with the table or sequence that they belong to; owners, grants and comments are left
//! out, for they are said about another object.

use super::entry_list;
use crate::access::{Context, Reads};
use crate::args::LsArgs;
use crate::exit::Exit;
use crate::output::{Align, Table, bytes, count, printable};
use pgkeep_engine::Result;
use pgkeep_engine::catalog::{Selection, select_entries};
use pgkeep_engine::repository::ChunkReader;
use pgkeep_format::entry::{Data, Entry, EntryKind, Kind, RowEncoding, Section};
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Debug, Serialize)]
struct Listing {
    backup: String,
    objects: Vec<Object>,
}

#[derive(Debug, Serialize)]
struct Object {
    kind: String,
    schema: Option<String>,
    name: String,
    /// The object that it is a part of, as `schema.name`; absent for one that stands alone.
    part_of: Option<String>,
    /// Absent where an object has no rows.
    rows: Option<u64>,
    /// Absent where an object has no rows.
    plain_bytes: Option<u64>,
    /// The format of COPY that the rows are in: `text` or `binary`; absent where an object has none.
    row_format: Option<&'static str>,
}

/// Lists the objects.
pub(super) async fn run(context: &Context, args: &LsArgs) -> Result<Exit> {
    let repository = context.open_for_reading(&args.repository, Reads::Sealed).await?;
    let backup = repository.find(&args.backup).await?;
    let stream = match args.globals {
        true => backup.globals_stream()?,
        false => backup.database(args.database.as_deref())?.entries_stream,
    };
    let entries = ChunkReader::open(&repository).await?.entries(&backup, stream).await?;
    let selection = args.parts.selection(&args.selection)?;
    let selected = match args.globals || selection == Selection::default() {
        true => (0..entries.len()).collect(),
        false => select_entries(&entries, &selection)?,
    };
    if args.list {
        let selected = select_entries(&entries, &selection)?;
        return context
            .output
            .data(entry_list::write(&backup, &entries, &selected).as_bytes())
            .map(|()| Exit::Done);
    }
    let objects = objects(&entries, &selected);
    let listing = Listing { backup: backup.clear.id.to_string(), objects };
    context.output.document(&listing, text)?;
    Ok(Exit::Done)
}

fn objects(entries: &[Entry], selected: &BTreeSet<usize>) -> Vec<Object> {
    let mut rows_of: Vec<Option<&Data>> = vec![None; entries.len()];
    for (at, entry) in entries.iter().enumerate() {
        let whole = entry.belongs_to.map_or(at, |whole| whole as usize);
        if let (Some(data), Some(place)) = (&entry.data, rows_of.get_mut(whole)) {
            *place = Some(data);
        }
    }
    let all = entries.iter().zip(rows_of).enumerate();
    let shown = all.filter(|(at, (entry, _))| selected.contains(at) && is_shown(entry));
    shown
        .map(|(_, (entry, data))| Object {
            kind: entry.kind.to_string(),
            schema: entry.schema.clone(),
            name: entry.name.clone(),
            part_of: entry.belongs_to.and_then(|at| entries.get(at as usize)).map(full_name),
            rows: data.map(|data| data.rows),
            plain_bytes: data.map(|data| data.bytes),
            row_format: data.map(|data| match data.encoding {
                RowEncoding::CopyText => "text",
                RowEncoding::CopyBinary => "binary",
                RowEncoding::Cbor => "cbor",
            }),
        })
        .collect()
}

fn full_name(entry: &Entry) -> String {
    match &entry.schema {
        Some(schema) => format!("{schema}.{}", entry.name),
        None => entry.name.clone(),
    }
}

fn is_shown(entry: &Entry) -> bool {
    let content_of_another = entry.section == Section::Data && entry.belongs_to.is_some();
    let said_about_another = match &entry.kind {
        EntryKind::Known(kind) => kind.is_satellite() || *kind == Kind::SequenceOwnedBy,
        EntryKind::Other(_) => false,
    };
    !content_of_another && !said_about_another
}

fn text(listing: &Listing) -> String {
    let mut table = Table::new(&[
        ("kind", Align::Left),
        ("rows", Align::Right),
        ("size", Align::Right),
        ("name", Align::Left),
    ]);
    for object in &listing.objects {
        let mut name = match &object.schema {
            Some(schema) => format!("{schema}.{}", object.name),
            None => object.name.clone(),
        };
        if let Some(whole) = &object.part_of {
            name = format!("{name} of {whole}");
        }
        table.row(vec![
            object.kind.clone(),
            object.rows.map_or_else(String::new, count),
            object.plain_bytes.map_or_else(String::new, bytes),
            printable(&name),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind, name: &str, belongs_to: Option<u32>, rows: Option<u64>) -> Entry {
        let data = rows.map(|rows| Data {
            stream: 0,
            encoding: RowEncoding::CopyText,
            columns: Vec::new(),
            rows,
            bytes: 10 * rows,
            table: None,
            numbers: None,
            types: None,
        });
        Entry {
            kind: kind.into(),
            section: if rows.is_some() { Section::Data } else { Section::PreData },
            schema: Some("app".into()),
            name: name.into(),
            create: String::new(),
            drop: None,
            depends_on: Vec::new(),
            belongs_to,
            relation: None,
            data: data.map(Box::new),
            owner: None,
            large_objects: None,
            storage: None,
            by_index: None,
        }
    }

    #[test]
    fn rows_stand_with_their_table_and_owners_are_left_out() {
        let entries = [
            entry(Kind::Table, "jobs", None, None),
            entry(Kind::Owner, "jobs", Some(0), None),
            entry(Kind::TableData, "jobs", Some(0), Some(7)),
            entry(Kind::Index, "jobs_pkey", Some(0), None),
        ];
        let all = (0..entries.len()).collect();
        let listing = Listing { backup: "00".into(), objects: objects(&entries, &all) };
        assert_eq!(
            text(&listing),
            "kind   rows  size  name\nTABLE     7  70 B  app.jobs\n\
             INDEX              app.jobs_pkey of app.jobs\n"
        );
    }
}
