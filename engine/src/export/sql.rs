//! A backup as plain SQL: a script for `psql`.
//!
//! The script is UTF-8 but for rows as COPY, whose statement names their encoding. It stops
//! at the first error, for rows after a `COPY` that failed would be run as SQL; and `psql` is
//! told to run none of its own commands until it sees a key that nothing in the backup can
//! know.

use super::insert::{InsertOptions, Inserts};
use super::large_objects::{Pieces, hex};
use super::{Export, ExportReport, unwritable};
use crate::catalog::{creation, drops, rows_target, select_database};
use crate::postgres::literal;
use crate::seal;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Data, Entry, Kind};
use std::collections::BTreeSet;
use std::io::Write;

/// What every restoring session is told; comments hold nothing that came from a database.
const SETTINGS: &str = "\
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_table_access_method = heap;
";

/// The first version that knows `transaction_timeout`.
const HAS_TRANSACTION_TIMEOUT: u32 = 170_000;

/// How to write SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlOptions {
    /// What brings rows in.
    pub rows: RowStatements,
    /// Drops what is written first.
    pub clean: bool,
    /// With `clean`: what is not there need not be dropped.
    pub if_exists: bool,
    /// Creates the database and connects to it.
    pub create: bool,
    /// Brings rows in without triggers and foreign keys; for rows alone.
    pub disable_triggers: bool,
    /// The key that ends what `psql` is restricted to; a random one if absent.
    pub restrict_key: Option<RestrictKey>,
}

/// What brings rows in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowStatements {
    /// `COPY … FROM stdin` and the rows.
    Copy,
    /// INSERT statements.
    Inserts(InsertOptions),
}

/// A key for psql's `\restrict`: letters and digits of ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestrictKey(String);

impl RestrictKey {
    /// Takes a key that the user chose.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when it is empty or holds anything but letters and digits.
    pub fn new(key: &str) -> Result<Self> {
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let message = "a restrict key is letters and digits of ASCII, at least one";
            return Err(Error::new(ErrorKind::Usage, message));
        }
        Ok(Self(key.to_owned()))
    }

    fn random() -> Result<Self> {
        Ok(Self(hex(&seal::random::<32>()?)))
    }
}

/// The script as far as it is written.
struct Script<'a> {
    export: &'a Export<'a>,
    options: &'a SqlOptions,
    key: RestrictKey,
    output: &'a mut (dyn Write + Send),
    report: ExportReport,
}

pub(super) async fn write(
    export: &Export<'_>,
    options: &SqlOptions,
    output: &mut (dyn Write + Send),
) -> Result<ExportReport> {
    let key = match &options.restrict_key {
        Some(key) => key.clone(),
        None => RestrictKey::random()?,
    };
    let mut script = Script { export, options, key, output, report: ExportReport::default() };
    script.text("-- A backup by pgkeep, as SQL for psql.\n\\set ON_ERROR_STOP on\n")?;
    script.restrict()?;
    script.settings()?;
    if options.create {
        script.database()?;
    } else if options.clean {
        for (_, drop) in drops(&export.entries, &export.selected, options.if_exists) {
            script.statement(&drop)?;
        }
    }
    if options.disable_triggers {
        script.text("SET session_replication_role = replica;\n")?;
    }
    for at in export.in_order() {
        script.entry(&export.entries[at]).await?;
    }
    if options.disable_triggers {
        script.text("\nSET session_replication_role = DEFAULT;\n")?;
    }
    script.unrestrict()?;
    script.output.flush().map_err(unwritable)?;
    Ok(script.report)
}

impl Script<'_> {
    fn text(&mut self, text: &str) -> Result<()> {
        self.output.write_all(text.as_bytes()).map_err(unwritable)
    }

    fn restrict(&mut self) -> Result<()> {
        self.text(&format!("\\restrict {}\n", self.key.0))
    }

    fn unrestrict(&mut self) -> Result<()> {
        self.text(&format!("\n\\unrestrict {}\n", self.key.0))
    }

    fn settings(&mut self) -> Result<()> {
        if self.export.backup.sealed_part()?.server_version >= HAS_TRANSACTION_TIMEOUT {
            self.text("SET transaction_timeout = 0;\n")?;
        }
        self.text(SETTINGS)
    }

    /// SQL of the backup, or of this program's own.
    fn statement(&mut self, sql: &str) -> Result<()> {
        // psql reads lines as C strings and would miss what follows.
        if sql.contains('\0') {
            let message = "SQL holds a zero byte, which no server accepts";
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        self.text("\n")?;
        self.text(sql.trim_end())?;
        self.text("\n")
    }

    /// Makes the database and goes on within it.
    fn database(&mut self) -> Result<()> {
        let export = self.export;
        let database = select_database(&export.entries, export.selection);
        if !database.iter().any(|at| export.entries[*at].kind == Kind::Database) {
            let message = "backup holds parts of its database and not how to create it";
            return Err(Error::new(ErrorKind::NotFound, message)
                .hint("Leave out --create and run the script in a database that you made."));
        }
        let connect = connect(&export.database.name)?;
        if self.options.clean {
            let all: BTreeSet<usize> = database.iter().copied().collect();
            for (_, drop) in drops(&export.entries, &all, self.options.if_exists) {
                self.statement(&drop)?;
            }
        }
        for at in database {
            self.statement(&export.entries[at].create)?;
            self.report.entries += 1;
        }
        self.unrestrict()?;
        self.text(&connect)?;
        self.restrict()?;
        self.settings()
    }

    async fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.report.entries += 1;
        let Some(data) = &entry.data else {
            return if entry.create.is_empty() { Ok(()) } else { self.statement(&creation(entry)) };
        };
        self.report.tables += 1;
        self.report.rows += data.rows;
        self.text("\n")?;
        match self.options.rows {
            _ if entry.kind == Kind::LargeObjectData => self.large_objects(entry, data).await,
            RowStatements::Copy => self.copy(entry, data).await,
            RowStatements::Inserts(options) => self.inserts(entry, data, &options).await,
        }
    }

    async fn copy(&mut self, entry: &Entry, data: &Data) -> Result<()> {
        let schema = entry.schema.as_deref().unwrap_or_default();
        let target = rows_target(entry, data, schema, &entry.name);
        let encoding = literal(&self.export.database.encoding);
        let copy = target.copy;
        self.statement(&format!("COPY {copy} FROM stdin WITH (ENCODING {encoding});"))?;
        let output = &mut *self.output;
        self.export
            .for_each_chunk(entry, data, |plain| output.write_all(plain).map_err(unwritable))
            .await?;
        self.text("\\.\n")
    }

    async fn inserts(&mut self, entry: &Entry, data: &Data, options: &InsertOptions) -> Result<()> {
        let encoding = &self.export.database.encoding;
        let relation = self.export.whole_of(entry).and_then(|table| table.relation.as_deref());
        let mut inserts = Inserts::new(entry, data, relation, encoding, options);
        let output = &mut *self.output;
        self.export.for_each_chunk(entry, data, |plain| inserts.write(plain, output)).await?;
        inserts.finish(self.output)
    }

    /// Each piece is a statement of its own, so that the script also runs in one transaction.
    async fn large_objects(&mut self, entry: &Entry, data: &Data) -> Result<()> {
        let mut pieces = Pieces::default();
        let output = &mut *self.output;
        self.export
            .for_each_chunk(entry, data, |plain| {
                pieces.read(plain, |piece| {
                    let (oid, offset) = (piece.oid, piece.offset);
                    let hex = hex(&piece.bytes);
                    writeln!(output, "SELECT pg_catalog.lo_put({oid}, {offset}, '\\x{hex}');")
                        .map_err(unwritable)
                })
            })
            .await
    }
}

/// The command of psql's that connects to a database: its name within a connection string
/// within double quotes, in which psql looks for nothing of its own.
fn connect(database: &str) -> Result<String> {
    if database.contains(['\n', '\r', '\0']) {
        let message = "database's name holds a line break, which psql cannot take";
        return Err(Error::new(ErrorKind::Usage, message)
            .hint("Leave out --create and run the script in a database of another name."));
    }
    let value = database.replace('\\', "\\\\").replace('\'', "\\'");
    let string = format!("dbname='{value}'").replace('"', "\"\"");
    Ok(format!("\\connect -reuse-previous=on \"{string}\"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restrict_key_cannot_hold_anything_that_psql_reads() {
        assert!(RestrictKey::new("aZ09").is_ok());
        for key in ["", "a b", "a\n", "a;", "é", "\\"] {
            assert_eq!(RestrictKey::new(key).unwrap_err().kind(), ErrorKind::Usage, "{key:?}");
        }
        let one = RestrictKey::random().unwrap();
        assert!(RestrictKey::new(&one.0).is_ok());
        assert_ne!(one, RestrictKey::random().unwrap());
    }

    #[test]
    fn a_database_of_any_name_is_connected_to_and_nothing_else() {
        assert_eq!(connect("shop").unwrap(), "\\connect -reuse-previous=on \"dbname='shop'\"\n");
        assert_eq!(
            connect("a' host='evil\" \\! x").unwrap(),
            "\\connect -reuse-previous=on \"dbname='a\\' host=\\'evil\"\" \\\\! x'\"\n"
        );
        assert_eq!(connect("a\n\\! x").unwrap_err().kind(), ErrorKind::Usage);
    }
}
