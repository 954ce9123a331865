//! Files of `--filter`, as pg_dump 17 and newer read them: a line a pattern, with what it is a
//! pattern of.
//! <https://www.postgresql.org/docs/current/app-pgdump.html>
//!
//! ```text
//! include table app.order*        # the rest of a line is a comment
//! exclude table_data "of the
//! night"                          # names in double quotes may hold line breaks
//! ```

use super::SelectionArgs;
use pgkeep_engine::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a file, at most.
const LEN_MAX: u64 = 1 << 20;

/// Adds what the file says to `args`; `-` is standard input.
///
/// # Errors
/// [`ErrorKind::Usage`], with the line, for what is no filter; [`ErrorKind::NotFound`] when the
/// file cannot be read.
pub(super) fn read(path: &Path, args: &mut SelectionArgs) -> Result<()> {
    let place = path.display();
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().take(LEN_MAX + 1).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(LEN_MAX + 1).read_to_string(&mut text))
    };
    read.map_err(|error| {
        let message = format!("could not read filter file \"{place}\"");
        Error::new(ErrorKind::NotFound, message).because(error)
    })?;
    if text.len() as u64 > LEN_MAX {
        let message = format!("filter file \"{place}\" is longer than {LEN_MAX} bytes");
        return Err(Error::new(ErrorKind::Usage, message));
    }
    apply(&text, args).map_err(|(line, why)| {
        Error::new(ErrorKind::Usage, format!("filter file \"{place}\", line {line}: {why}"))
            .hint("A line is such as: include table app.order*")
    })
}

type LineError = (usize, String);

fn apply(text: &str, args: &mut SelectionArgs) -> std::result::Result<(), LineError> {
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        let (item, used) = item(rest).map_err(|why| (line, why))?;
        if let Some((command, object, pattern)) = item {
            let list = list(args, command, object)
                .ok_or_else(|| (line, format!("nobody can {command} \"{object}\"")))?;
            list.push(pattern);
        }
        line += rest[..used].matches('\n').count();
        rest = &rest[used..];
    }
    Ok(())
}

type Item<'a> = Option<(&'a str, &'a str, String)>;

/// The item that a text begins with, absent for an empty line, and the bytes that it takes.
fn item(text: &str) -> std::result::Result<(Item<'_>, usize), String> {
    let end = text.find('\n').map_or(text.len(), |at| at + 1);
    let line = text[..end].trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok((None, end));
    }
    let (command, after) = word(&text[..end], 0);
    if !matches!(command, "include" | "exclude") {
        return Err(format!("expected include or exclude, found \"{command}\""));
    }
    let (object, after) = word(&text[..end], after);
    let (pattern, used) = pattern(text, after)?;
    if pattern.is_empty() {
        return Err("expected a pattern after what it is of".to_owned());
    }
    Ok((Some((command, object, pattern)), used))
}

/// The next word of a line, and where it ends.
fn word(line: &str, from: usize) -> (&str, usize) {
    let rest = line[from..].trim_start();
    let start = line.len() - rest.len();
    let len = rest.find(|c: char| c.is_whitespace() || c == '#').unwrap_or(rest.len());
    (&rest[..len], start + len)
}

/// A pattern: to the end of the line or a comment, but for what is in double quotes.
fn pattern(text: &str, from: usize) -> std::result::Result<(String, usize), String> {
    let mut pattern = String::new();
    let (mut quoted, mut comment) = (false, false);
    for (at, c) in text[from..].char_indices() {
        match c {
            '\n' if !quoted => return Ok((pattern.trim().to_owned(), from + at + 1)),
            _ if comment => continue,
            '#' if !quoted => comment = true,
            '"' => {
                quoted = !quoted;
                pattern.push(c);
            }
            _ => pattern.push(c),
        }
    }
    if quoted {
        return Err("a name in double quotes does not end".to_owned());
    }
    Ok((pattern.trim().to_owned(), text.len()))
}

/// The option that a line stands for.
fn list<'a>(
    args: &'a mut SelectionArgs,
    command: &str,
    object: &str,
) -> Option<&'a mut Vec<String>> {
    Some(match (command, object) {
        ("include", "schema") => &mut args.schemas,
        ("exclude", "schema") => &mut args.exclude_schemas,
        ("include", "table") => &mut args.tables,
        ("exclude", "table") => &mut args.exclude_tables,
        ("include", "table_and_children") => &mut args.tables_and_children,
        ("exclude", "table_and_children") => &mut args.exclude_tables_and_children,
        ("exclude", "table_data") => &mut args.exclude_table_data,
        ("exclude", "table_data_and_children") => &mut args.exclude_table_data_and_children,
        ("include", "extension") => &mut args.extensions,
        ("exclude", "extension") => &mut args.exclude_extensions,
        ("include", "foreign_data") => &mut args.foreign_data,
        ("include", "index") => &mut args.indexes,
        ("include", "function") => &mut args.functions,
        ("include", "trigger") => &mut args.triggers,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::result::Result<SelectionArgs, LineError> {
        let mut args = SelectionArgs::default();
        apply(text, &mut args).map(|()| args)
    }

    #[test]
    fn a_line_is_an_option() {
        let args = read(
            "# all of it\n\n include table app.* # comment\nexclude\ttable_data \"a#b\".\"c\n\"\"d\"\n\
             exclude schema old\ninclude extension hstore",
        )
        .unwrap();
        assert_eq!(args.tables, ["app.*"]);
        assert_eq!(args.exclude_table_data, ["\"a#b\".\"c\n\"\"d\""]);
        assert_eq!(args.exclude_schemas, ["old"]);
        assert_eq!(args.extensions, ["hstore"]);
    }

    #[test]
    fn what_is_no_filter_is_told_with_its_line() {
        for (text, line) in [
            ("include table a\nfoo table b", 2),
            ("include", 1),
            ("include table", 1),
            ("include table_data a", 1),
            ("exclude table \"a\nb\"\ninclude everything x", 3),
            ("include table \"open", 1),
            ("\0", 1),
        ] {
            assert_eq!(read(text).unwrap_err().0, line, "{text:?}");
        }
    }
}
