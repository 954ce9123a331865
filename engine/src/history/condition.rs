//! What a row must be like.

use super::recorded::{Recorded, Value};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::change::Action;

/// A column has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The column; absent for the only one that identifies rows.
    pub column: Option<String>,
    /// The value, as the server writes it.
    pub value: String,
}

/// The conditions, and which of their columns any table had.
pub(super) struct Conditions<'a> {
    all: &'a [Condition],
    met: Vec<bool>,
    any_row: bool,
}

impl<'a> Conditions<'a> {
    pub(super) fn new(all: &'a [Condition]) -> Self {
        Self { all, met: vec![false; all.len()], any_row: false }
    }

    /// Whether they hold of the row before a change or of the row after it. A truncate is of all
    /// rows.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when a condition without a column meets a table of which not one column
    /// identifies rows.
    pub(super) fn hold(&mut self, recorded: &Recorded<'_>) -> Result<bool> {
        if recorded.action == Action::Truncate {
            return Ok(true);
        }
        self.any_row = true;
        let (mut before, mut after) = (true, true);
        for (condition, met) in self.all.iter().zip(&mut self.met) {
            let field = match &condition.column {
                Some(name) => recorded.fields.iter().find(|field| field.name == name),
                None => Some(only_key(recorded)?),
            };
            *met |= field.is_some();
            let is = |value: &Value| matches!(value, Value::Text(text) if *text == condition.value);
            before &= field.is_some_and(|field| is(&field.old));
            after &= field.is_some_and(|field| is(&field.new));
        }
        Ok(before || after)
    }

    /// Checks that some row had each column.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when none had one.
    pub(super) fn check(&self) -> Result<()> {
        let unmet = self.all.iter().zip(&self.met).find(|(_, met)| !**met);
        let name = unmet.and_then(|(condition, _)| condition.column.as_ref());
        match name.filter(|_| self.any_row) {
            None => Ok(()),
            Some(name) => {
                let message = format!("no row that changed has a column \"{name}\"");
                Err(Error::new(ErrorKind::Usage, message))
            }
        }
    }
}

fn only_key<'r>(recorded: &'r Recorded<'_>) -> Result<&'r super::Field<'r>> {
    let keys: Vec<_> = recorded.fields.iter().filter(|field| field.is_key).collect();
    match keys.as_slice() {
        [key] => Ok(key),
        _ => {
            let table = format!("{}.{}", recorded.table.schema, recorded.table.name);
            let names: Vec<_> = keys.iter().take(3).map(|key| key.name).collect();
            let message = match names.as_slice() {
                [] => format!("no column identifies rows of table {table}"),
                _ => format!("more than one column identifies rows of table {table}"),
            };
            let example = names.first().unwrap_or(&"id");
            Err(Error::new(ErrorKind::Usage, message)
                .hint(format!("Name the column: --key {example}=VALUE")))
        }
    }
}
