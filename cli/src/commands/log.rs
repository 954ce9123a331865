//! `pgkeep log`: what happened to the rows of a table.

use super::view::lsn;
use crate::access::{Context, Reads};
use crate::args::LogArgs;
use crate::exit::Exit;
use crate::output::{counted, local_time, printable, rfc3339};
use pgkeep_engine::Result;
use pgkeep_engine::catalog::NameMatcher;
use pgkeep_engine::fold::Named;
use pgkeep_engine::history::{self, Asked, Field, Found, Gap, Recorded, Value};
use pgkeep_format::change::Action;
use serde::{Serialize, Serializer};
use std::fmt::Write;

/// Characters that a line shows of a value.
const SHOWN_MAX: usize = 120;

/// A change, for programs.
#[derive(Debug, Serialize)]
struct ChangeView<'a> {
    xid: u64,
    lsn: String,
    time: Option<String>,
    action: &'static str,
    schema: &'a str,
    table: &'a str,
    /// Names of the columns that identify a row.
    key: Vec<&'a str>,
    /// What the server said of the row before.
    #[serde(serialize_with = "old")]
    old: &'a [Field<'a>],
    #[serde(serialize_with = "new")]
    new: &'a [Field<'a>],
    /// Columns that are what they were before; they are not in `new`.
    unchanged: Vec<&'a str>,
    #[serde(skip)]
    recorded: &'a Recorded<'a>,
}

impl<'a> ChangeView<'a> {
    fn of(recorded: &'a Recorded<'a>) -> Self {
        let fields = recorded.fields.iter();
        let unchanged = fields.clone().filter(|field| field.new == Value::Unchanged);
        Self {
            xid: recorded.transaction.xid,
            lsn: lsn(recorded.transaction.lsn),
            time: rfc3339(recorded.transaction.time),
            action: match recorded.action {
                Action::Insert => "insert",
                Action::Update => "update",
                Action::Delete => "delete",
                Action::Truncate => "truncate",
            },
            schema: &recorded.table.schema,
            table: &recorded.table.name,
            key: fields.filter(|field| field.is_key).map(|field| field.name).collect(),
            old: &recorded.fields,
            new: &recorded.fields,
            unchanged: unchanged.map(|field| field.name).collect(),
            recorded,
        }
    }
}

fn old<S: Serializer>(fields: &[Field<'_>], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().filter_map(|field| known(field.name, &field.old)))
}

fn new<S: Serializer>(fields: &[Field<'_>], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().filter_map(|field| known(field.name, &field.new)))
}

fn known<'a>(name: &'a str, value: &'a Value) -> Option<(&'a str, Option<&'a str>)> {
    match value {
        Value::Absent | Value::Unchanged => None,
        Value::Null => Some((name, None)),
        Value::Text(text) => Some((name, Some(text))),
    }
}

#[derive(Debug, Serialize)]
struct Summary {
    changes: u64,
    /// Whether older ones were left out for --limit.
    limited: bool,
    gaps: Vec<GapView>,
}

#[derive(Debug, Serialize)]
struct GapView {
    /// Absent for all before.
    from: Option<String>,
    to: Option<String>,
}

/// Tells the changes.
pub(super) async fn run(context: &Context, args: &LogArgs) -> Result<Exit> {
    let repository = context.open_for_reading(&args.repository, Reads::Sealed).await?;
    let asked = Asked {
        named: Named { database: args.database.clone(), stream: args.stream.clone() },
        tables: NameMatcher::for_relation(&args.table)?,
        row: args.row.clone(),
        from: args.from,
        to: args.to,
        limit: args.limit,
    };
    let mut last = None;
    let mut tell = |recorded: &Recorded<'_>| {
        let is_next = last.replace(recorded.transaction.xid) != Some(recorded.transaction.xid);
        context.output.change(&ChangeView::of(recorded), |view| lines(view, is_next))
    };
    let found = history::history(&repository, &asked, &mut tell).await?;
    for gap in &found.gaps {
        context.output.warning(&sentence(gap));
    }
    let summary = Summary {
        changes: found.changes,
        limited: found.is_cut,
        gaps: found.gaps.iter().map(GapView::of).collect(),
    };
    context.output.summary(&summary, |_| said(&found))?;
    Ok(Exit::done_with(found.gaps.len()))
}

impl GapView {
    fn of(gap: &Gap) -> Self {
        Self { from: gap.from.and_then(rfc3339), to: rfc3339(gap.to) }
    }
}

fn said(found: &Found) -> String {
    let changes = counted(found.changes, "change");
    if found.is_cut { format!("{changes}; there are older ones") } else { changes }
}

fn sentence(gap: &Gap) -> String {
    let to = local_time(gap.to);
    match gap.from {
        Some(from) => format!("the change stream has nothing from {} to {to}", local_time(from)),
        None => format!("the change stream has nothing before {to}"),
    }
}

/// A change on a line, after one for its transaction where that begins.
fn lines(view: &ChangeView<'_>, begins: bool) -> String {
    let recorded = view.recorded;
    let mut text = String::new();
    if begins {
        let time = local_time(recorded.transaction.time);
        let _infallible = writeln!(text, "transaction {}, {time}, {}", view.xid, view.lsn);
    }
    let table = printable(&format!("{}.{}", view.schema, view.table));
    let _infallible = write!(text, "  {} {table}", view.action.to_uppercase());
    let fields = recorded.fields.iter().filter_map(field);
    for (number, field) in fields.enumerate() {
        text.push_str(if number == 0 { ": " } else { ", " });
        text.push_str(&field);
    }
    text.push('\n');
    text
}

/// A column with its value, or with both where it changed.
fn field(field: &Field<'_>) -> Option<String> {
    let value = match (&field.old, &field.new) {
        (Value::Absent, Value::Absent) => return None,
        (Value::Absent, only) | (only, Value::Absent) => shown(only),
        (_, Value::Unchanged) => shown(&Value::Unchanged),
        (old, new) if old == new => shown(new),
        (old, new) => format!("{} -> {}", shown(old), shown(new)),
    };
    Some(format!("{}={value}", printable(field.name)))
}

/// A value on a line: in quotes unless it is one word, and not all of it when it is long.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Absent => return String::new(),
        Value::Unchanged => return "(unchanged)".to_owned(),
        Value::Null => return "NULL".to_owned(),
        Value::Text(text) => text,
    };
    let cut: String = text.chars().take(SHOWN_MAX).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    let is_word = |c: char| c.is_alphanumeric() || "_-+.:/@".contains(c);
    let is_plain = !cut.is_empty() && cut.chars().all(is_word) && cut != "NULL";
    match is_plain {
        true => format!("{cut}{more}"),
        false => format!("'{}'{more}", printable(&cut.replace('\'', "''"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_so_that_it_cannot_be_taken_for_another() {
        let text = |text: &str| shown(&Value::Text(text.to_owned()));
        assert_eq!(text("2026-11-22"), "2026-11-22");
        assert_eq!(text("NULL"), "'NULL'");
        assert_eq!(text(""), "''");
        assert_eq!(text("it's, b=1"), "'it''s, b=1'");
        assert_eq!(text("a\nb\u{1b}"), "'a\\nb\\u{1b}'");
        assert_eq!(text(&"x".repeat(200)).chars().count(), SHOWN_MAX + 1);
        assert_eq!(shown(&Value::Null), "NULL");
    }
}
