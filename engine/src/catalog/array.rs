//! Reads the text of a one-dimensional array, as the server writes it: `{a,"b c",NULL}`.

use crate::{Error, ErrorKind, Result};

/// The elements of an array; NULLs are left out.
pub(super) fn elements(text: &str) -> Result<Vec<String>> {
    let broken =
        || Error::new(ErrorKind::Server, format!("server returned malformed array {text}"));
    let inner =
        text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(broken)?;
    let mut elements = Vec::new();
    let mut characters = inner.chars().peekable();
    while characters.peek().is_some() {
        let mut element = String::new();
        let quoted = characters.next_if_eq(&'"').is_some();
        loop {
            match characters.next() {
                Some('\\') => element.push(characters.next().ok_or_else(broken)?),
                Some('"') if quoted => break,
                Some(',') if !quoted => {
                    // A separator that nothing follows would promise another element.
                    characters.peek().ok_or_else(broken)?;
                    break;
                }
                Some('{' | '}' | '"') if !quoted => return Err(broken()),
                Some(character) => element.push(character),
                None if quoted => return Err(broken()),
                None => break,
            }
        }
        if quoted && characters.peek().is_some() {
            characters.next_if_eq(&',').ok_or_else(broken)?;
            characters.peek().ok_or_else(broken)?;
        }
        if quoted || !element.eq_ignore_ascii_case("null") {
            elements.push(element);
        }
    }
    Ok(elements)
}

/// [`elements`] of a value that may be NULL.
pub(super) fn optional_elements(text: Option<&str>) -> Result<Option<Vec<String>>> {
    text.map(elements).transpose()
}

#[cfg(test)]
mod tests {
    use super::elements;

    #[test]
    fn array_text_is_read_as_the_server_writes_it() {
        let cases: &[(&str, &[&str])] = &[
            ("{}", &[]),
            ("{a}", &["a"]),
            ("{a,b}", &["a", "b"]),
            (r#"{"a,b",c}"#, &["a,b", "c"]),
            (r#"{"say \"hi\"","back\\slash",""}"#, &["say \"hi\"", "back\\slash", ""]),
            (r#"{NULL,"NULL"}"#, &["NULL"]),
            (
                "{=r/postgres,\"odd \\\"role\\\"=arw/postgres\"}",
                &["=r/postgres", "odd \"role\"=arw/postgres"],
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(elements(text).expect(text), *expected, "{text}");
        }
    }

    #[test]
    fn malformed_arrays_are_errors() {
        for text in ["", "a", "{", "}", "{a", "{\"a}", "{a,}", "{\"a\"b}", "{\"a\",}", "{{a}}"] {
            assert!(elements(text).is_err(), "{text}");
        }
    }
}
