//! Patterns of `pg_dump` and `psql` for names, as the server's regular expressions.

use crate::{Error, ErrorKind, Result};

/// A pattern's parts as anchored regular expressions of the server's flavour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::catalog) struct Pattern {
    /// What the database's name must match, where the pattern names one.
    pub(in crate::catalog) database: Option<String>,
    /// What the schema's name must match, where the pattern names one.
    pub(in crate::catalog) schema: Option<String>,
    /// What the name must match.
    pub(in crate::catalog) name: String,
}

/// Reads a pattern for tables: `[[database.]schema.]name`.
///
/// Outside double quotes letters are folded to lower case, `*` stands for any characters,
/// `?` for one, and regular expressions but for `.`, `*`, `?` and `$` mean what they do;
/// within quotes everything stands for itself.
pub(in crate::catalog) fn for_relation(pattern: &str) -> Result<Pattern> {
    let mut parts = parts(pattern);
    let (Some(name), schema, database, None) = (parts.pop(), parts.pop(), parts.pop(), parts.pop())
    else {
        return Err(too_many_dots(pattern));
    };
    Ok(Pattern { database, schema, name })
}

/// Reads a pattern for schemas: `[database.]name`.
pub(in crate::catalog) fn for_schema(pattern: &str) -> Result<Pattern> {
    let mut parts = parts(pattern);
    let (Some(name), database, None) = (parts.pop(), parts.pop(), parts.pop()) else {
        return Err(too_many_dots(pattern));
    };
    Ok(Pattern { database, schema: None, name })
}

/// Whether a pattern names one thing at most: it has no wildcard.
pub(in crate::catalog) fn is_exact(pattern: &str) -> bool {
    let mut quoted = false;
    pattern.chars().all(|character| {
        quoted ^= character == '"';
        quoted || !"*?|+()[]{}^".contains(character)
    })
}

fn too_many_dots(pattern: &str) -> Error {
    Error::new(
        ErrorKind::Usage,
        format!("improper qualified name (too many dotted names): {pattern}"),
    )
    .hint("Put names that have a dot in double quotes.")
}

/// The dotted parts of a pattern, each as an anchored regular expression.
fn parts(pattern: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut quoted = false;
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => part.push('"'),
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(anchored(&std::mem::take(&mut part))),
            '*' if !quoted => part.push_str(".*"),
            '?' if !quoted => part.push('.'),
            // So that a type's name with [] is no character class.
            '[' if !quoted && characters.next_if_eq(&']').is_some() => part.push_str("\\[\\]"),
            '$' => part.push_str("\\$"),
            _ if quoted && "|*+?()[]{}.^\\".contains(character) => {
                part.push('\\');
                part.push(character);
            }
            _ if quoted => part.push(character),
            _ => part.push(character.to_ascii_lowercase()),
        }
    }
    parts.push(anchored(&part));
    parts
}

fn anchored(expression: &str) -> String {
    format!("^({expression})$")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_regular_expressions() {
        let cases = [
            ("jobs", None, "^(jobs)$"),
            ("Jobs", None, "^(jobs)$"),
            ("\"Jobs\"", None, "^(Jobs)$"),
            ("public.jobs", Some("^(public)$"), "^(jobs)$"),
            ("public.*", Some("^(public)$"), "^(.*)$"),
            ("*.j?bs", Some("^(.*)$"), "^(j.bs)$"),
            ("\"a.b\".\"c*\"", Some("^(a\\.b)$"), "^(c\\*)$"),
            ("\"say \"\"hi\"\"\"", None, "^(say \"hi\")$"),
            ("t[0-9]+|x", None, "^(t[0-9]+|x)$"),
            ("a$b", None, "^(a\\$b)$"),
            ("\"a$b\\\"", None, "^(a\\$b\\\\)$"),
            ("t[]", None, "^(t\\[\\])$"),
            ("\"Été\n\"", None, "^(Été\n)$"),
        ];
        for (pattern, schema, name) in cases {
            let found = for_relation(pattern).expect(pattern);
            assert_eq!(found.schema.as_deref(), schema, "{pattern}");
            assert_eq!(found.name, name, "{pattern}");
            assert_eq!(found.database, None, "{pattern}");
        }
    }

    #[test]
    fn a_database_may_be_named() {
        let found = for_relation("db.s.t").expect("three parts");
        assert_eq!(found.database.as_deref(), Some("^(db)$"));
        assert_eq!(for_schema("db.s").expect("two parts").name, "^(s)$");
    }

    #[test]
    fn too_many_parts_are_refused() {
        assert_eq!(for_relation("a.b.c.d").expect_err("four parts").kind(), ErrorKind::Usage);
        assert_eq!(for_schema("a.b.c").expect_err("three parts").kind(), ErrorKind::Usage);
    }

    #[test]
    fn quoted_wildcards_make_a_pattern_exact() {
        assert!(is_exact("public.jobs"));
        assert!(is_exact("\"a*\".b"));
        assert!(!is_exact("public.j*"));
        assert!(!is_exact("a|b"));
    }
}
