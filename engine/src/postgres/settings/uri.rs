//! The URI form of a connection string: `postgresql://user:password@host:port,…/db?option=…`
//! with percent-encoding, several hosts, and Unix socket directories as encoded hosts.
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>

use super::keywords::{self, Values, usage};
use crate::Result;

/// The part after the scheme, when the text is a URI.
pub(super) fn after_scheme(text: &str) -> Option<&str> {
    ["postgresql://", "postgres://"].iter().find_map(|scheme| text.strip_prefix(scheme))
}

/// Parses what follows the scheme.
///
/// # Errors
/// [`crate::ErrorKind::Usage`] when it is not a URI or has an option that is not libpq's.
/// No error repeats the text: it may hold a password.
pub(super) fn parse(text: &str) -> Result<Values> {
    let mut values = Values::new();
    // As libpq looks for it: an `@` counts when no slash comes before it, so a password may
    // hold `?` and `:` as they are.
    let rest = match text.find(['@', '/']).filter(|at| text.as_bytes()[*at] == b'@') {
        Some(at) => {
            user_and_password(&text[..at], &mut values)?;
            &text[at + 1..]
        }
        None => text,
    };
    let (body, query) = match rest.split_once('?') {
        Some((body, query)) => (body, Some(query)),
        None => (rest, None),
    };
    let (hosts, database) = match body.split_once('/') {
        Some((hosts, database)) => (hosts, Some(database)),
        None => (body, None),
    };
    hosts_and_ports(hosts, &mut values)?;
    put(&mut values, "dbname", database.unwrap_or_default())?;
    for pair in query.into_iter().flat_map(|query| query.split('&')).filter(|p| !p.is_empty()) {
        parameter(pair, &mut values)?;
    }
    Ok(values)
}

fn user_and_password(text: &str, values: &mut Values) -> Result<()> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    put(values, "user", user)?;
    put(values, "password", password)
}

/// `host:port,host:port`: becomes two lists of the same length, as the keywords want them.
fn hosts_and_ports(text: &str, values: &mut Values) -> Result<()> {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for one in text.split(',') {
        let (host, port) = host_and_port(one)?;
        hosts.push(decode(host)?);
        ports.push(decode(port)?);
    }
    if hosts.iter().any(|host| !host.is_empty()) {
        values.insert("host", hosts.join(","));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        values.insert("port", ports.join(","));
    }
    Ok(())
}

fn host_and_port(text: &str) -> Result<(&str, &str)> {
    let Some(bracketed) = text.strip_prefix('[') else {
        return Ok(text.split_once(':').unwrap_or((text, "")));
    };
    let Some((address, after)) = bracketed.split_once(']') else {
        return Err(usage("connection URI has an IPv6 address without \"]\""));
    };
    match after.strip_prefix(':') {
        Some(port) => Ok((address, port)),
        None if after.is_empty() => Ok((address, "")),
        None => Err(usage("connection URI has characters between \"]\" and the port")),
    }
}

fn parameter(pair: &str, values: &mut Values) -> Result<()> {
    let Some((name, value)) = pair.split_once('=') else {
        return Err(usage("connection URI has an option without \"=\""));
    };
    let name = decode(name)?;
    // JDBC's spelling, which libpq takes too.
    if name == "ssl" && value == "true" {
        values.insert("sslmode", "require".to_owned());
        return Ok(());
    }
    let keyword = keywords::known(&name).ok_or_else(|| {
        usage(format!("connection URI has an option \"{name}\" that does not exist"))
            .hint("Leave out options that only another client library understands.")
    })?;
    put(values, keyword, value)
}

fn put(values: &mut Values, keyword: &'static str, encoded: &str) -> Result<()> {
    let value = decode(encoded)?;
    if !value.is_empty() {
        values.insert(keyword, value);
    }
    Ok(())
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let byte = match after {
            [high, low, ..] => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        let byte = byte.ok_or_else(|| {
            usage("connection URI has a \"%\" that is not followed by two hexadecimal digits")
                .hint("Write a percent sign itself as %25.")
        })?;
        if byte == 0 {
            return Err(usage("connection URI has a forbidden %00"));
        }
        bytes.push(byte);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| usage("connection URI is not UTF-8 when decoded"))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, expected: &[(&'static str, &str)]) {
        let values = parse(after_scheme(uri).unwrap()).unwrap();
        let expected: Values =
            expected.iter().map(|(keyword, value)| (*keyword, (*value).to_owned())).collect();
        assert_eq!(values, expected, "{uri}");
    }

    #[test]
    fn uris_are_read_as_libpq_reads_them() {
        check("postgresql://", &[]);
        check("postgres://h", &[("host", "h")]);
        check("postgresql:///db", &[("dbname", "db")]);
        check("postgresql://h:5433", &[("host", "h"), ("port", "5433")]);
        check("postgresql://u@", &[("user", "u")]);
        check("postgres://u:a?b:c@h", &[("user", "u"), ("password", "a?b:c"), ("host", "h")]);
        check(
            "postgresql://u:p%40%2f%25@h/db%20x?connect_timeout=10&application_name=a%26b",
            &[
                ("user", "u"),
                ("password", "p@/%"),
                ("host", "h"),
                ("dbname", "db x"),
                ("connect_timeout", "10"),
                ("application_name", "a&b"),
            ],
        );
        check(
            "postgresql://a:1,b,[::1]:3/d",
            &[("host", "a,b,::1"), ("port", "1,,3"), ("dbname", "d")],
        );
        check("postgresql://%2Fvar%2Frun/d", &[("host", "/var/run"), ("dbname", "d")]);
        check(
            "postgresql:///d?host=/tmp&port=1&ssl=true",
            &[("host", "/tmp"), ("port", "1"), ("dbname", "d"), ("sslmode", "require")],
        );
        check("postgresql://[fe80::1]/", &[("host", "fe80::1")]);
    }

    #[test]
    fn a_broken_uri_is_refused_and_its_password_not_repeated() {
        for uri in [
            "postgresql://u:secret%@h",
            "postgresql://u:secret@h/%zz",
            "postgresql://u:secret@[::1",
            "postgresql://u:secret@[::1]x",
            "postgresql://u:secret@h/?pgbouncer=true",
            "postgresql://u:secret@h/?sslmode",
            "postgresql://u:secret%00@h",
            "postgresql://u:secret@h/%ff",
        ] {
            let error = parse(after_scheme(uri).unwrap()).unwrap_err();
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }
}
