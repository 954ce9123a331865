//! Patterns of `pg_dump` for names, applied here rather than by a server: to the entries of
//! a backup.

use crate::catalog::selection::pattern;
use crate::{Error, ErrorKind, Result};
use regex_lite::{Regex, RegexBuilder};

/// Bytes that a compiled pattern may take.
const COMPILED_LEN_MAX: usize = 1 << 20;

/// A pattern, ready to be compared with names.
#[derive(Debug, Clone)]
pub struct NameMatcher {
    schema: Option<Regex>,
    name: Regex,
}

impl NameMatcher {
    /// Reads a pattern for relations: `[schema.]name`. One that names a database too
    /// matches as if it did not: a backup is of one.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when it is not a pattern.
    pub fn for_relation(text: &str) -> Result<Self> {
        let parts = pattern::for_relation(text)?;
        let schema = parts.schema.map(|schema| compile(text, &schema)).transpose()?;
        Ok(Self { schema, name: compile(text, &parts.name)? })
    }

    /// Reads a pattern for schemas.
    ///
    /// # Errors
    /// As [`NameMatcher::for_relation`].
    pub fn for_schema(text: &str) -> Result<Self> {
        let parts = pattern::for_schema(text)?;
        Ok(Self { schema: None, name: compile(text, &parts.name)? })
    }

    /// Whether it matches a name in a schema; without a schema of its own, in any.
    #[must_use]
    pub fn matches(&self, schema: &str, name: &str) -> bool {
        self.schema.as_ref().is_none_or(|expected| expected.is_match(schema))
            && self.name.is_match(name)
    }
}

fn compile(pattern: &str, expression: &str) -> Result<Regex> {
    RegexBuilder::new(expression)
        .dot_matches_new_line(true)
        .size_limit(COMPILED_LEN_MAX)
        .build()
        .map_err(|error| {
            Error::new(ErrorKind::Usage, format!("pattern \"{pattern}\" is not valid"))
                .because(error)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_pg_dump_has_them_match() {
        let matches = |pattern: &str, schema: &str, name: &str| {
            NameMatcher::for_relation(pattern).unwrap().matches(schema, name)
        };
        assert!(matches("jobs", "any", "jobs"));
        assert!(matches("JOBS", "any", "jobs"));
        assert!(!matches("jobs", "any", "jobs2"));
        assert!(matches("app.j*", "app", "jobs"));
        assert!(!matches("app.j*", "public", "jobs"));
        assert!(matches("\"Odd.Name\"", "any", "Odd.Name"));
        assert!(matches("a|b", "any", "b"));
        assert!(matches("two*", "any", "two\nlines"));
        assert!(NameMatcher::for_relation("a(").is_err());
    }
}
