//! What patterns match in a database: the server is asked.

use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::selection::pattern::{self, Pattern};
use crate::catalog::source::{Owner, Source};
use crate::postgres::literal;
use crate::{Error, ErrorKind, Result};
use std::collections::{HashMap, HashSet};

/// What to do about a pattern that matches nothing.
pub(super) enum Missing<'a> {
    /// What is asked for must be there.
    Error,
    /// What is not wanted may be absent, but a plain name is perhaps misspelt.
    Warning(&'a mut Vec<String>),
}

impl Missing<'_> {
    fn report(&mut self, what: &str, pattern: &str) -> Result<()> {
        match self {
            Missing::Error => {
                let message = format!("no {what} matches \"{pattern}\"");
                let error = Error::new(ErrorKind::NotFound, message);
                Err(if what == "table" && !pattern.contains('.') {
                    error.hint(format!(
                        "Without a schema only what search_path shows is found; \
                         try \"*.{pattern}\"."
                    ))
                } else {
                    error
                })
            }
            Missing::Warning(warnings) => {
                if pattern::is_exact(pattern) {
                    warnings
                        .push(format!("no {what} matches \"{pattern}\", which is to be left out"));
                }
                Ok(())
            }
        }
    }
}

pub(super) struct Matcher<'a> {
    pub(super) source: &'a Source<'a>,
}

/// A relation as selection sees it.
pub(super) struct Candidate {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// Whether the role may read it.
    pub(super) is_readable: bool,
    /// Whether its rows are gone after a crash.
    pub(super) is_unlogged: bool,
    /// The table that a sequence belongs to.
    pub(super) owner: Option<u32>,
    /// Whether that table's column makes the sequence.
    pub(super) is_identity: bool,
}

impl Matcher<'_> {
    pub(super) async fn all(&self) -> Result<Vec<Candidate>> {
        // A matter of who asks, and of whole schemas: nothing that an image can follow.
        let readable = match self.source {
            Source::Server(_) => {
                "pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND CASE c.relkind \
                   WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT') \
                   ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END"
            }
            Source::Recorder(_) | Source::Image(_) => "true",
        };
        let sql = format!(
            "SELECT c.oid, n.nspname, c.relname, c.relpersistence, d.refobjid, d.deptype, \
                    {readable} AS readable \
             FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_depend d ON c.relkind = 'S' \
               AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
               AND d.objid = c.oid AND d.objsubid = 0 \
               AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
               AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') \
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't' \
             AND {USER_SCHEMA}"
        );
        let rows = self.source.ask(Owner::object("pg_class", "oid"), &sql).await?;
        rows.iter()
            .map(|row| {
                let owner = row.optional("refobjid")?.map(|_| row.parse("refobjid")).transpose()?;
                Ok(Candidate {
                    oid: row.parse("oid")?,
                    schema: row.text("nspname")?.to_owned(),
                    name: row.text("relname")?.to_owned(),
                    is_readable: row.bool("readable")?,
                    is_unlogged: row.text("relpersistence")? == "u",
                    owner,
                    is_identity: row.optional("deptype")? == Some("i"),
                })
            })
            .collect()
    }

    pub(super) async fn schemas(
        &self,
        patterns: &[String],
        mut missing: Missing<'_>,
    ) -> Result<HashSet<String>> {
        let mut found = HashSet::new();
        for text in patterns {
            let pattern = pattern::for_schema(text)?;
            self.check_database(text, &pattern).await?;
            let sql = format!(
                "SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE {} AND {USER_SCHEMA}",
                matches("n.nspname", &pattern.name)
            );
            let rows = self.source.server()?.query(&sql).await?;
            if rows.is_empty() {
                missing.report("schema", text)?;
            }
            for row in rows {
                found.insert(row.text("nspname")?.to_owned());
            }
        }
        Ok(found)
    }

    pub(super) async fn relations(
        &self,
        patterns: &[String],
        mut missing: Missing<'_>,
    ) -> Result<HashSet<u32>> {
        let mut found = HashSet::new();
        for text in patterns {
            let pattern = pattern::for_relation(text)?;
            self.check_database(text, &pattern).await?;
            let place = match &pattern.schema {
                Some(schema) => matches("n.nspname", schema),
                None => "pg_catalog.pg_table_is_visible(c.oid)".to_owned(),
            };
            let sql = format!(
                "SELECT c.oid FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't' \
                 AND {} AND {place} AND {USER_SCHEMA}",
                matches("c.relname", &pattern.name)
            );
            let rows = self.source.server()?.query(&sql).await?;
            if rows.is_empty() {
                missing.report("table", text)?;
            }
            for row in rows {
                found.insert(row.parse("oid")?);
            }
        }
        Ok(found)
    }

    /// The relations that match, and all that inherit from them or are partitions of them.
    pub(super) async fn with_children(
        &self,
        patterns: &[String],
        missing: Missing<'_>,
    ) -> Result<HashSet<u32>> {
        let mut found = self.relations(patterns, missing).await?;
        if found.is_empty() {
            return Ok(found);
        }
        let sql = "SELECT i.inhparent, i.inhrelid FROM pg_catalog.pg_inherits i";
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for row in self.source.server()?.query(sql).await? {
            children.entry(row.parse("inhparent")?).or_default().push(row.parse("inhrelid")?);
        }
        let mut todo: Vec<u32> = found.iter().copied().collect();
        while let Some(parent) = todo.pop() {
            let below = children.get(&parent).into_iter().flatten();
            todo.extend(below.copied().filter(|child| found.insert(*child)));
        }
        Ok(found)
    }

    /// Names, of those that `sql` asks for as `name`, that match.
    pub(super) async fn names(
        &self,
        what: &str,
        sql: &str,
        patterns: &[String],
        mut missing: Missing<'_>,
    ) -> Result<HashSet<String>> {
        let mut found = HashSet::new();
        for text in patterns {
            let pattern = pattern::for_schema(text)?;
            let sql =
                format!("SELECT name FROM ({sql}) n WHERE {}", matches("name", &pattern.name));
            let rows = self.source.server()?.query(&sql).await?;
            if rows.is_empty() {
                missing.report(what, text)?;
            }
            for row in rows {
                found.insert(row.text("name")?.to_owned());
            }
        }
        Ok(found)
    }

    async fn check_database(&self, text: &str, pattern: &Pattern) -> Result<()> {
        let Some(database) = &pattern.database else { return Ok(()) };
        let sql = format!("SELECT WHERE {}", matches("pg_catalog.current_database()", database));
        if self.source.server()?.query(&sql).await?.is_empty() {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("pattern \"{text}\" names another database"),
            )
            .hint("A backup is of the database that it connects to."));
        }
        Ok(())
    }
}

/// `column ~ expression`, compared as text in the database's collation.
fn matches(column: &str, expression: &str) -> String {
    format!(
        "{column}::pg_catalog.text OPERATOR(pg_catalog.~) {} COLLATE pg_catalog.\"default\"",
        literal(expression)
    )
}
