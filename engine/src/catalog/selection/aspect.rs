//! What can be left out of everything that is selected, and the one rule that says of an
//! object whether it is.

use crate::catalog::Selection;
use pgkeep_format::entry::Kind;

/// Something that a selection can be without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aspect {
    /// Everything but rows, sequence values, large objects and statistics.
    Definitions,
    /// Rows, sequence values and large objects.
    Rows,
    /// Optimizer statistics.
    Statistics,
    /// Who owns what.
    Owners,
    /// Privileges, default ones too.
    Privileges,
    /// Which tablespace something is in.
    Tablespaces,
    /// Which access method a table has.
    AccessMethods,
}

/// An object as the rule sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// What it is.
    pub kind: Kind,
    /// What the object is that it is a part of or speaks about.
    pub whole: Option<Kind>,
}

impl Selection {
    /// Whether it takes such an object, if its name is selected.
    #[must_use]
    pub fn takes(&self, subject: Subject) -> bool {
        let left_out = match subject.kind {
            Kind::Owner => self.is_without(Aspect::Owners),
            Kind::Acl | Kind::DefaultAcl => self.is_without(Aspect::Privileges),
            _ => false,
        };
        !left_out && self.takes_part(subject)
    }

    fn takes_part(&self, subject: Subject) -> bool {
        let (definitions, rows) =
            (!self.is_without(Aspect::Definitions), !self.is_without(Aspect::Rows));
        // What is said about an object is of its kind: large objects are rows.
        let kind = if subject.kind.is_satellite() {
            subject.whole.unwrap_or(subject.kind)
        } else {
            subject.kind
        };
        match kind {
            // The rows of an extension's configuration are part of its definition.
            Kind::TableData | Kind::SequenceSet if subject.whole == Some(Kind::Extension) => {
                definitions || rows
            }
            Kind::TableData | Kind::SequenceSet | Kind::LargeObject | Kind::LargeObjectData => rows,
            Kind::StatisticsData => !self.is_without(Aspect::Statistics),
            // It is filled by a definition of its own from rows.
            Kind::MaterializedViewData => definitions && rows,
            _ => definitions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(aspect: Aspect) -> Selection {
        Selection { without: [aspect].into(), ..Selection::default() }
    }

    #[test]
    fn what_is_said_about_large_objects_goes_with_the_rows() {
        let comment = Subject { kind: Kind::Comment, whole: Some(Kind::LargeObject) };
        assert!(without(Aspect::Definitions).takes(comment));
        assert!(!without(Aspect::Rows).takes(comment));
        let comment = Subject { kind: Kind::Comment, whole: Some(Kind::Table) };
        assert!(!without(Aspect::Definitions).takes(comment));
        assert!(without(Aspect::Rows).takes(comment));
    }

    #[test]
    fn a_materialized_view_is_filled_where_there_are_definitions_and_rows() {
        let refresh = Subject { kind: Kind::MaterializedViewData, whole: None };
        assert!(Selection::default().takes(refresh));
        assert!(!without(Aspect::Definitions).takes(refresh));
        assert!(!without(Aspect::Rows).takes(refresh));
    }
}
