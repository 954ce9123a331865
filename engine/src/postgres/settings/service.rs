//! The service file: sections `[name]` of `keyword=value` lines.
//! <https://www.postgresql.org/docs/current/libpq-pgservice.html>

use super::keywords::{self, Values, usage};
use crate::Result;

/// The values of one service, absent when the file has no such section.
///
/// # Errors
/// [`crate::ErrorKind::Usage`] when a line of the section is not of the form or its keyword
/// not libpq's.
pub(super) fn find(text: &str, service: &str) -> Result<Option<Values>> {
    let mut values = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if values.is_some() {
                break;
            }
            values = (name == service).then(Values::new);
            continue;
        }
        let Some(values) = &mut values else { continue };
        let place = || format!("line {} of the service file", number + 1);
        let (keyword, value) =
            line.split_once('=').ok_or_else(|| usage(format!("{} has no \"=\"", place())))?;
        let keyword = match keywords::known(keyword) {
            Some("service") => {
                return Err(usage(format!("{} names another service", place())));
            }
            Some(keyword) => keyword,
            None => {
                return Err(usage(format!(
                    "{} has an option \"{keyword}\" that does not exist",
                    place()
                )));
            }
        };
        // The first of two lines for one keyword counts.
        values.entry(keyword).or_insert_with(|| value.to_owned());
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# ours\n[one]\nhost=a\nport=1\n\n[two]\nhost=b\nhost=c\nuser=x=y\n\
                        [bad]\nhost\n[worse]\nnonsense=1\n";

    #[test]
    fn a_section_is_found_and_ends_at_the_next() {
        let two = find(FILE, "two").unwrap().unwrap();
        assert_eq!(two["host"], "b");
        assert_eq!(two["user"], "x=y");
        assert!(!two.contains_key("port"));
        assert!(find(FILE, "three").unwrap().is_none());
    }

    #[test]
    fn only_the_section_in_use_must_be_right() {
        assert!(find(FILE, "bad").unwrap_err().to_string().contains("line 11"));
        assert!(find(FILE, "worse").unwrap_err().to_string().contains("nonsense"));
    }
}
