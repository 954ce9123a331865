//! Rows of a table as it was become rows of the table as it is: columns are told by their
//! numbers, which they keep; those that came later have the value that old rows have in them,
//! those that are gone are left out.

use super::copy_row::fields;
use super::keyed::nonsense;
use crate::Result;
use pgkeep_format::change::{Change, OldRow};
use std::borrow::Cow;
use std::collections::HashMap;

/// Values, as COPY text, that rows have in columns which they were there before, by column
/// number. Where there is none it is NULL.
pub(super) type Missing = HashMap<i16, Vec<u8>>;

/// From rows of some columns to rows of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    /// Where each value comes from; absent where rows stay as they are.
    sources: Option<Vec<Source>>,
    /// Columns of a row before.
    from: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Field(usize),
    Value(Vec<u8>),
}

impl Mapping {
    /// Leaves rows as they are, whatever their columns.
    pub(super) fn none() -> Self {
        Self { sources: None, from: 0 }
    }

    pub(super) fn between(from: &[i16], to: &[i16], missing: &Missing) -> Self {
        if from == to {
            return Self { sources: None, from: from.len() };
        }
        let source = |number: &i16| match from.iter().position(|other| other == number) {
            Some(at) => Source::Field(at),
            None => Source::Value(missing.get(number).cloned().unwrap_or_else(|| b"\\N".to_vec())),
        };
        Self { sources: Some(to.iter().map(source).collect()), from: from.len() }
    }

    /// Whether rows stay as they are.
    pub(super) fn is_same(&self) -> bool {
        self.sources.is_none()
    }

    /// The row, without its newline; absent when it has not the columns that it should have.
    pub(super) fn row<'r>(&self, row: &'r [u8]) -> Option<Cow<'r, [u8]>> {
        let Some(sources) = &self.sources else { return Some(Cow::Borrowed(row)) };
        let mut found = Vec::new();
        if self.from > 0 {
            fields(row, usize::MAX, &mut found);
        }
        if found.len() != self.from {
            return None;
        }
        let mut mapped = Vec::with_capacity(row.len() + 16);
        for (number, source) in sources.iter().enumerate() {
            if number > 0 {
                mapped.push(b'\t');
            }
            match source {
                Source::Field(at) => mapped.extend_from_slice(&row[found[*at].0..found[*at].1]),
                Source::Value(value) => mapped.extend_from_slice(value),
            }
        }
        Some(Cow::Owned(mapped))
    }

    /// Appends a change whose rows are mapped. Of an old row that is not whole the columns are
    /// those of the key, which stay.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) when it has other columns.
    pub(super) fn change(&self, change: &Change<'_>, bytes: &mut Vec<u8>) -> Result<()> {
        use pgkeep_format::change::Action;
        let Some(sources) = &self.sources else {
            return change.encode(bytes).map_err(|error| nonsense().because(error));
        };
        let whole = change.old.filter(|old| old.is_whole);
        let whole = whole.map(|old| self.row(old.row).ok_or_else(nonsense)).transpose()?;
        let new = match change.action {
            Action::Insert | Action::Update => self.row(change.new).ok_or_else(nonsense)?,
            Action::Delete | Action::Truncate => Cow::Borrowed(change.new),
        };
        let is_unchanged = |source: &Source| match source {
            Source::Field(at) => change.unchanged.iter().any(|other| usize::from(*other) == *at),
            Source::Value(_) => false,
        };
        let positions = sources.iter().enumerate().filter(|(_, source)| is_unchanged(source));
        let mapped = Change {
            action: change.action,
            member: change.member,
            old: match (&whole, change.old) {
                (Some(row), _) => Some(OldRow { is_whole: true, row }),
                (None, old) => old,
            },
            // COLUMNS_MAX keeps positions within u16.
            unchanged: positions.map(|(at, _)| u16::try_from(at).unwrap_or(u16::MAX)).collect(),
            new: &new,
        };
        mapped.encode(bytes).map_err(|error| nonsense().because(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgkeep_format::change::{Action, decode_at};

    #[test]
    fn columns_are_told_by_their_numbers() {
        let missing = Missing::from([(4, b"four\\t".to_vec())]);
        let mapping = Mapping::between(&[1, 2, 3], &[3, 1, 4, 5], &missing);
        assert_eq!(mapping.row(b"a\t\\N\tc").unwrap().as_ref(), b"c\ta\tfour\\t\t\\N");
        assert!(mapping.row(b"a\tb").is_none());
        assert!(Mapping::between(&[1, 2], &[1, 2], &missing).is_same());
        let to_none = Mapping::between(&[1], &[], &missing);
        assert_eq!(to_none.row(b"a").unwrap().as_ref(), b"");
        let from_none = Mapping::between(&[], &[4], &missing);
        assert_eq!(from_none.row(b"").unwrap().as_ref(), b"four\\t");
    }

    #[test]
    fn unchanged_values_stay_unchanged_where_they_are_then() {
        let mapping = Mapping::between(&[1, 2, 3], &[1, 3, 4], &Missing::new());
        let change = Change {
            action: Action::Update,
            member: 7,
            old: Some(OldRow { is_whole: false, row: b"9" }),
            unchanged: vec![1, 2],
            new: b"1\t\\N\t\\N",
        };
        let mut bytes = Vec::new();
        mapping.change(&change, &mut bytes).unwrap();
        let mapped = decode_at(&bytes, 0).unwrap();
        assert_eq!((mapped.unchanged.as_slice(), mapped.new), (&[1][..], &b"1\t\\N\t\\N"[..]));
        assert_eq!(mapped.old, change.old);
    }
}
