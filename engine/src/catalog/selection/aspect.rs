//! What can be left out of everything that is selected, and the one rule that says of an
//! object whether it is.

use crate::catalog::Selection;
use pgkeep_format::entry::{Kind, Section};

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
    /// Comments.
    Comments,
    /// Row security: policies, and that tables have it.
    Policies,
    /// Publications and what they publish.
    Publications,
    /// Subscriptions.
    Subscriptions,
    /// Security labels.
    SecurityLabels,
    /// How columns are compressed; when a backup is taken.
    ToastCompression,
    /// Rows of unlogged tables; when a backup is taken.
    UnloggedRows,
}

/// An object as the rule sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// What it is.
    pub kind: Kind,
    /// When it is restored.
    pub section: Section,
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
            Kind::Comment => self.is_without(Aspect::Comments),
            Kind::SecurityLabel => self.is_without(Aspect::SecurityLabels),
            _ => false,
        };
        let in_section = self.sections.is_empty() || self.sections.contains(&subject.section);
        !left_out && in_section && self.takes_part(subject)
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
            Kind::SequenceSet => rows || self.sequence_values,
            Kind::LargeObject | Kind::LargeObjectData => rows && self.large_objects != Some(false),
            Kind::TableData => rows,
            Kind::Policy | Kind::RowSecurity => definitions && !self.is_without(Aspect::Policies),
            Kind::Publication | Kind::PublicationTable | Kind::PublicationSchema => {
                definitions && !self.is_without(Aspect::Publications)
            }
            Kind::Subscription => definitions && !self.is_without(Aspect::Subscriptions),
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
        let comment = Subject {
            kind: Kind::Comment,
            section: Section::PostData,
            whole: Some(Kind::LargeObject),
        };
        assert!(without(Aspect::Definitions).takes(comment));
        assert!(!without(Aspect::Rows).takes(comment));
        let comment =
            Subject { kind: Kind::Comment, section: Section::PostData, whole: Some(Kind::Table) };
        assert!(!without(Aspect::Definitions).takes(comment));
        assert!(without(Aspect::Rows).takes(comment));
    }

    #[test]
    fn a_materialized_view_is_filled_where_there_are_definitions_and_rows() {
        let refresh =
            Subject { kind: Kind::MaterializedViewData, section: Section::PostData, whole: None };
        assert!(Selection::default().takes(refresh));
        assert!(!without(Aspect::Definitions).takes(refresh));
        assert!(!without(Aspect::Rows).takes(refresh));
    }
}
