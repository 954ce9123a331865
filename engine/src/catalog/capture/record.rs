//! Reads the text of a row, as the server writes a value of a composite type: `(1,"a b",)`.

use crate::{Error, ErrorKind, Result};

/// The values of a row; absent where NULL.
pub(super) fn values(text: &str) -> Result<Vec<Option<String>>> {
    let broken =
        || Error::new(ErrorKind::Server, format!("server returned malformed row {text:.100}"));
    let inner =
        text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).ok_or_else(broken)?;
    let mut values = Vec::new();
    let mut characters = inner.chars().peekable();
    loop {
        let mut value = None;
        let mut quoted = false;
        while let Some(character) = characters.next_if(|next| quoted || *next != ',') {
            let value = value.get_or_insert_with(String::new);
            match character {
                '"' if quoted && characters.next_if_eq(&'"').is_some() => value.push('"'),
                '"' => quoted = !quoted,
                '\\' => value.push(characters.next().ok_or_else(broken)?),
                '(' | ')' if !quoted => return Err(broken()),
                character => value.push(character),
            }
        }
        if quoted {
            return Err(broken());
        }
        values.push(value);
        if characters.next().is_none() {
            return Ok(values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the server writes it.
    fn text(values: &[Option<String>]) -> String {
        let fields = values.iter().map(|value| match value {
            None => String::new(),
            Some(value) => {
                format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\"\""))
            }
        });
        format!("({})", fields.collect::<Vec<_>>().join(","))
    }

    #[test]
    fn rows_are_read_as_the_server_writes_them() {
        let some = |text: &str| Some(text.to_owned());
        let cases = [
            ("(1,a,)", vec![some("1"), some("a"), None]),
            ("(,)", vec![None, None]),
            ("()", vec![None]),
            (
                r#"("","a,b","say ""hi""","back\\slash")"#,
                vec![some(""), some("a,b"), some("say \"hi\""), some("back\\slash")],
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(values(text).expect(text), expected, "{text}");
        }
    }

    #[test]
    fn malformed_rows_are_errors() {
        for text in ["", "(", ")", "(\"a)", "(a\\)", "((a))", "a,b"] {
            assert!(values(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_values_come_back(expected in proptest::collection::vec(proptest::option::of(".*"), 1..6)) {
            prop_assert_eq!(values(&text(&expected)).unwrap(), expected);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[(),\"\\\\a]*") {
            let _ = values(&text);
        }
    }
}
