//! Errors and warnings for people: the message, its causes, and what to do.

use super::text::{printable, printable_lines};
use crate::environment::Environment;
use pgkeep_engine::Error;
use std::error::Error as _;
use std::fmt::Write;
use std::io::IsTerminal;

/// Whether words are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    colour: bool,
}

const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const CYAN: &str = "1;36";

impl Style {
    /// The style for standard error.
    pub(crate) fn for_stderr(environment: &Environment) -> Self {
        Self { colour: !environment.no_color && std::io::stderr().is_terminal() }
    }

    /// A warning.
    pub(crate) fn warning(self, text: &str) -> String {
        format!("{} {}", self.paint(YELLOW, "warning:"), printable_lines(text))
    }

    /// An error with its causes, each deeper than the one before, then the hints.
    pub(crate) fn error(self, error: &Error) -> String {
        let mut text =
            format!("{} {}", self.paint(RED, "error:"), printable_lines(&error.to_string()));
        let mut depth = 1;
        let mut said = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let message = cause.to_string();
            // Some causes repeat what has just been said.
            if !said.ends_with(&message) {
                let indent = "  ".repeat(depth);
                let shown = printable_lines(&message).replace('\n', &format!("\n{indent}"));
                let _infallible = write!(text, "\n{indent}{shown}");
                depth += 1;
            }
            said = message;
            source = cause.source();
        }
        for hint in error.hints() {
            let _infallible = write!(text, "\n{} {}", self.paint(CYAN, "hint:"), printable(hint));
        }
        text
    }

    fn paint(self, colour: &str, word: &str) -> String {
        if self.colour { format!("\u{1b}[{colour}m{word}\u{1b}[0m") } else { word.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgkeep_engine::ErrorKind;

    const PLAIN: Style = Style { colour: false };

    #[test]
    fn an_error_shows_its_causes_indented_and_then_its_hints() {
        let cause = Error::new(ErrorKind::Server, "role \"app\" has no rights\non two tables")
            .hint("GRANT SELECT ON ALL TABLES IN SCHEMA app TO app;");
        let error = Error::new(ErrorKind::Privilege, "could not lock table \"app\".\"jobs\"")
            .hint("Connect as another role: -U ROLE")
            .because(cause);
        assert_eq!(
            PLAIN.error(&error),
            "error: could not lock table \"app\".\"jobs\"\n\
             \x20 role \"app\" has no rights\n  on two tables\n\
             hint: Connect as another role: -U ROLE\n\
             hint: GRANT SELECT ON ALL TABLES IN SCHEMA app TO app;"
        );
    }

    #[test]
    fn a_hostile_name_in_an_error_cannot_steer_the_terminal() {
        let error = Error::new(ErrorKind::NotFound, "table \"\u{1b}]0;x\u{7}\" is not there");
        assert!(!PLAIN.error(&error).contains('\u{1b}'));
    }

    #[test]
    fn colour_is_only_in_the_first_word() {
        let style = Style { colour: true };
        assert_eq!(style.warning("mind this"), "\u{1b}[1;33mwarning:\u{1b}[0m mind this");
    }
}
