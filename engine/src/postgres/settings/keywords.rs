//! The keywords that libpq knows, what we do with each, and the `keyword = value` form of a
//! connection string.
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS>

use crate::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// Values by keyword.
pub(super) type Values = BTreeMap<&'static str, String>;

/// Every keyword of libpq 18 with the variable that stands for it, if there is one.
const KEYWORDS: &[(&str, Option<&str>)] = &[
    ("application_name", Some("PGAPPNAME")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("client_encoding", None),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("dbname", Some("PGDATABASE")),
    ("fallback_application_name", None),
    ("gssdelegation", Some("PGGSSDELEGATION")),
    ("gssencmode", Some("PGGSSENCMODE")),
    ("gsslib", Some("PGGSSLIB")),
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("keepalives", None),
    ("keepalives_count", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("krbsrvname", Some("PGKRBSRVNAME")),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS")),
    ("max_protocol_version", Some("PGMAXPROTOCOLVERSION")),
    ("min_protocol_version", Some("PGMINPROTOCOLVERSION")),
    ("oauth_client_id", None),
    ("oauth_client_secret", None),
    ("oauth_issuer", None),
    ("oauth_scope", None),
    ("options", Some("PGOPTIONS")),
    ("passfile", Some("PGPASSFILE")),
    ("password", Some("PGPASSWORD")),
    ("port", Some("PGPORT")),
    ("replication", None),
    ("require_auth", Some("PGREQUIREAUTH")),
    ("requirepeer", Some("PGREQUIREPEER")),
    ("scram_client_key", None),
    ("scram_server_key", None),
    ("service", Some("PGSERVICE")),
    ("servicefile", Some("PGSERVICEFILE")),
    ("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION")),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslcertmode", Some("PGSSLCERTMODE")),
    ("sslcompression", Some("PGSSLCOMPRESSION")),
    ("sslcrl", Some("PGSSLCRL")),
    ("sslcrldir", Some("PGSSLCRLDIR")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslkeylogfile", None),
    ("sslmode", Some("PGSSLMODE")),
    ("sslnegotiation", Some("PGSSLNEGOTIATION")),
    ("sslpassword", None),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("sslsni", Some("PGSSLSNI")),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("tcp_user_timeout", None),
    ("user", Some("PGUSER")),
];

/// Keywords that would make the connection safer than it is here, with the values at which
/// they ask for nothing. Any other value is refused: ignoring it would weaken what the user
/// asked for.
const NOT_SUPPORTED: &[(&str, &[&str])] = &[
    ("gssencmode", &["disable", "prefer"]),
    ("require_auth", &[]),
    ("requirepeer", &[]),
    ("replication", &["false", "off", "no", "0"]),
    ("scram_client_key", &[]),
    ("scram_server_key", &[]),
    ("ssl_max_protocol_version", &["TLSv1.3"]),
    ("sslcertmode", &["allow", "disable"]),
    ("sslcrl", &[]),
    ("sslcrldir", &[]),
    ("sslpassword", &[]),
];

/// The keyword's own spelling, when there is such a keyword.
pub(super) fn known(keyword: &str) -> Option<&'static str> {
    KEYWORDS.iter().find(|(name, _)| *name == keyword).map(|(name, _)| *name)
}

/// Keywords that have a variable, with it.
pub(super) fn with_variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYWORDS.iter().filter_map(|(name, variable)| variable.map(|variable| (*name, variable)))
}

/// Refuses values that ask for something we cannot give.
pub(super) fn refuse_unsupported(values: &Values) -> Result<()> {
    for (keyword, harmless) in NOT_SUPPORTED {
        let Some(value) = values.get(keyword) else { continue };
        if !value.is_empty() && !harmless.contains(&value.as_str()) {
            return Err(usage(format!(
                "connection option \"{keyword}\" is not supported by pgkeep"
            ))
            .hint("Leave the option out, or connect through a local proxy that provides it."));
        }
    }
    Ok(())
}

/// Parses `keyword = value …`: spaces around `=` are allowed, values with spaces stand in
/// single quotes, and a backslash takes the next character as it is.
///
/// # Errors
/// [`ErrorKind::Usage`] when it is not of this form or a keyword is not libpq's.
pub(super) fn parse(text: &str) -> Result<Values> {
    let mut values = Values::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (keyword, after) = rest.split_at(end);
        let Some(after) = after.trim_start().strip_prefix('=') else {
            return Err(usage(format!("missing \"=\" after \"{keyword}\" in connection string")));
        };
        let keyword = known(keyword).ok_or_else(|| {
            usage(format!("connection string has an option \"{keyword}\" that does not exist"))
        })?;
        let (value, after) = value(after.trim_start())?;
        values.insert(keyword, value);
        rest = after.trim_start();
    }
    Ok(values)
}

/// Takes one value off the front; returns it with what follows.
fn value(text: &str) -> Result<(String, &str)> {
    let (quoted, body) = match text.strip_prefix('\'') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = body.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Ok((value, &body[at + 1..])),
            space if !quoted && space.is_whitespace() => return Ok((value, &body[at..])),
            other => value.push(other),
        }
    }
    if quoted {
        return Err(usage("unterminated quoted string in connection string"));
    }
    Ok((value, ""))
}

/// An error of the settings themselves.
pub(super) fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(&'static str, String)> {
        parse(text).unwrap().into_iter().collect()
    }

    #[test]
    fn quotes_escapes_and_spaces_are_understood() {
        let values = parsed(r"  host = a  user='it\'s me' password=p\ w\\x dbname='' ");
        let expected = [("dbname", ""), ("host", "a"), ("password", r"p w\x"), ("user", "it's me")];
        assert_eq!(values, expected.map(|(keyword, value)| (keyword, value.to_owned())));
    }

    #[test]
    fn what_is_not_of_the_form_is_refused_with_its_place() {
        for (text, part) in [
            ("host", "missing \"=\" after \"host\""),
            ("host=a nonsense=1", "\"nonsense\""),
            ("user='abc", "unterminated"),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn an_option_that_would_have_made_it_safer_is_refused() {
        let refused = |text| refuse_unsupported(&parse(text).unwrap()).is_err();
        assert!(refused("sslcrl=/x") && refused("gssencmode=require") && refused("requirepeer=p"));
        assert!(!refused("gssencmode=prefer sslcrl='' sslcompression=0"));
    }
}
