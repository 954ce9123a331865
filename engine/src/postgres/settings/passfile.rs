//! The password file: lines of `host:port:database:user:password`, `*` for any, backslash
//! before `:` and `\`. The first line that fits counts.
//! <https://www.postgresql.org/docs/current/libpq-pgpass.html>

use super::Password;

/// A password file that was read.
#[derive(Debug, Default)]
pub(in crate::postgres) struct Passfile(Vec<Line>);

#[derive(Debug)]
struct Line {
    /// Host, port, database, user; absent for any.
    fields: [Option<String>; 4],
    password: Password,
}

impl Passfile {
    /// Reads the lines; those of another form are passed over, as libpq does.
    pub(super) fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(Line::parse).collect())
    }

    pub(super) fn find(
        &self,
        host: &str,
        port: u16,
        database: &str,
        user: &str,
    ) -> Option<&Password> {
        let port = port.to_string();
        let wanted = [host, &port, database, user];
        let fits = |line: &&Line| {
            line.fields
                .iter()
                .zip(wanted)
                .all(|(field, wanted)| field.as_ref().is_none_or(|field| field == wanted))
        };
        self.0.iter().find(fits).map(|line| &line.password)
    }
}

impl Line {
    fn parse(text: &str) -> Option<Self> {
        if text.starts_with('#') {
            return None;
        }
        let mut rest = text;
        let mut next = || {
            let (field, after) = field(rest)?;
            rest = after;
            Some((field != "*").then(|| unescape(field)))
        };
        let fields = [next()?, next()?, next()?, next()?];
        // Whatever follows a second unescaped colon after the password is no part of it.
        let password = field(rest).map_or(rest, |(password, _)| password);
        (!password.is_empty()).then(|| Self { fields, password: Password::new(unescape(password)) })
    }
}

/// Splits at the first colon that no backslash precedes.
fn field(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    let colon = text.bytes().position(|byte| {
        let ends = byte == b':' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some((&text[..colon], &text[colon + 1..]))
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_counts() {
        let file = Passfile::parse(
            "# db:5432:*:*:no\n\
             db:5432:app:ann:one\n\
             broken line\n\
             db:*:*:ann:tw\\:o\\\\\n\
             \\:\\:1:5432:*:*:six:rest\n\
             *:*:*:ben:any\n\
             *:*:*:empty:\n",
        );
        let find = |host, port, database, user| {
            file.find(host, port, database, user).map(|password| password.reveal().to_owned())
        };
        assert_eq!(find("db", 5432, "app", "ann").as_deref(), Some("one"));
        assert_eq!(find("db", 5433, "app", "ann").as_deref(), Some("tw:o\\"));
        assert_eq!(find("::1", 5432, "x", "y").as_deref(), Some("six"));
        assert_eq!(find("other", 1, "x", "ben").as_deref(), Some("any"));
        assert_eq!(find("other", 1, "x", "empty"), None);
        assert_eq!(find("other", 1, "x", "ann"), None);
    }
}
