//! Options that choose what is meant: the same for a database and for a stored backup.

use super::{filter, values};
use clap::Args;
use pgkeep_engine::Result;
use pgkeep_engine::catalog::{Aspect, Provider, Selection};
use pgkeep_format::entry::{Kind, Section};
use std::path::PathBuf;

/// What to back up, restore, export or list; everything without any.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selection (patterns as pg_dump takes them)")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own, as pg_dump's")]
pub(crate) struct SelectionArgs {
    /// Only what lies in schemas that match; may be repeated
    #[arg(short = 'n', long = "schema", value_name = "PATTERN")]
    pub(crate) schemas: Vec<String>,

    /// Nothing that lies in schemas that match; may be repeated
    #[arg(short = 'N', long = "exclude-schema", value_name = "PATTERN")]
    pub(crate) exclude_schemas: Vec<String>,

    /// Only tables, views and sequences that match, with all that belongs to them; may be repeated
    ///
    /// A pattern may hold * and ?, and a schema before a dot: `app.order*`. It is matched in
    /// lower case unless it is in double quotes.
    #[arg(short = 't', long = "table", value_name = "PATTERN")]
    pub(crate) tables: Vec<String>,

    /// As --table, with partitions and tables that inherit
    #[arg(long = "table-and-children", value_name = "PATTERN")]
    pub(crate) tables_and_children: Vec<String>,

    /// No tables, views and sequences that match; may be repeated
    #[arg(short = 'T', long = "exclude-table", value_name = "PATTERN")]
    pub(crate) exclude_tables: Vec<String>,

    /// As --exclude-table, with partitions and tables that inherit
    #[arg(long = "exclude-table-and-children", value_name = "PATTERN")]
    pub(crate) exclude_tables_and_children: Vec<String>,

    /// The definition but not the rows of tables that match; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude_table_data: Vec<String>,

    /// As --exclude-table-data, with partitions and tables that inherit
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude_table_data_and_children: Vec<String>,

    /// Of the extensions only those that match; may be repeated
    ///
    /// With schemas or tables named, extensions are selected by this alone.
    #[arg(long = "extension", value_name = "PATTERN")]
    pub(crate) extensions: Vec<String>,

    /// No extensions that match; may be repeated
    #[arg(long = "exclude-extension", value_name = "PATTERN")]
    pub(crate) exclude_extensions: Vec<String>,

    /// Patterns from a file, as pg_dump --filter reads it; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) filter: Option<PathBuf>,

    /// Every pattern that selects must match something, which is so without this too
    #[arg(long)]
    pub(crate) strict_names: bool,

    /// Only one part of a restore: pre-data, data or post-data; may be repeated
    #[arg(long = "section", value_name = "SECTION", value_parser = values::section)]
    pub(crate) sections: Vec<Section>,

    /// Definitions only, no rows
    #[arg(short = 's', long, conflicts_with = "data_only")]
    pub(crate) schema_only: bool,

    /// Rows only, no definitions
    #[arg(short = 'a', long)]
    pub(crate) data_only: bool,

    /// Optimizer statistics only, neither definitions nor rows
    #[arg(long, conflicts_with_all = ["schema_only", "data_only", "no_statistics"])]
    pub(crate) statistics_only: bool,

    /// No rows
    #[arg(long, conflicts_with = "data_only")]
    pub(crate) no_data: bool,

    /// No definitions
    #[arg(long, conflicts_with = "schema_only")]
    pub(crate) no_schema: bool,

    /// No optimizer statistics
    #[arg(long)]
    pub(crate) no_statistics: bool,

    /// Values of sequences, also without rows
    #[arg(long)]
    pub(crate) sequence_data: bool,

    /// Large objects, also where schemas or tables are named
    #[arg(short = 'b', long, visible_alias = "blobs", conflicts_with = "no_large_objects")]
    pub(crate) large_objects: bool,

    /// No large objects
    #[arg(short = 'B', long, visible_alias = "no-blobs")]
    pub(crate) no_large_objects: bool,

    /// No owners: everything is to be owned by the role that restores
    #[arg(short = 'O', long)]
    pub(crate) no_owner: bool,

    /// No grants
    #[arg(short = 'x', long, visible_alias = "no-acl")]
    pub(crate) no_privileges: bool,

    /// No comments
    #[arg(long)]
    pub(crate) no_comments: bool,

    /// No row security
    #[arg(long)]
    pub(crate) no_policies: bool,

    /// No publications
    #[arg(long)]
    pub(crate) no_publications: bool,

    /// No subscriptions
    #[arg(long)]
    pub(crate) no_subscriptions: bool,

    /// No security labels
    #[arg(long)]
    pub(crate) no_security_labels: bool,

    /// No tablespaces: everything goes where the database is
    #[arg(long)]
    pub(crate) no_tablespaces: bool,

    /// No access methods: every table is a heap
    #[arg(long)]
    pub(crate) no_table_access_method: bool,

    /// Whose server it is: what is the provider's alone is left out
    ///
    /// Rows that the user has in tables of the provider, such as auth.users, are backed up, and
    /// restored into the tables that are there.
    #[arg(long, value_name = "PROVIDER", value_parser = values::provider)]
    pub(crate) profile: Option<Provider>,

    /// Of a filter file; options have them for stored backups alone.
    #[arg(skip)]
    pub(crate) indexes: Vec<String>,
    /// See `indexes`.
    #[arg(skip)]
    pub(crate) functions: Vec<String>,
    /// See `indexes`.
    #[arg(skip)]
    pub(crate) triggers: Vec<String>,
    /// Of a filter file; options have it for databases alone.
    #[arg(skip)]
    pub(crate) foreign_data: Vec<String>,
}

/// Parts of a stored backup that are selected by name, beside tables.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selection (patterns as pg_dump takes them)")]
pub(crate) struct PartSelectionArgs {
    /// Only indexes that match; may be repeated
    #[arg(short = 'I', long = "index", value_name = "PATTERN")]
    indexes: Vec<String>,

    /// Only functions, procedures and aggregates that match; may be repeated
    ///
    /// A pattern, or a name with the types of its arguments: `app.total(integer, text)`.
    #[arg(short = 'P', long = "function", value_name = "PATTERN")]
    functions: Vec<String>,

    /// Only triggers that match; may be repeated
    #[arg(long = "trigger", value_name = "PATTERN")]
    triggers: Vec<String>,
}

/// The list that `pgkeep ls --list` wrote.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selection (patterns as pg_dump takes them)")]
pub(crate) struct UseListArgs {
    /// Only entries of this list, which pgkeep ls --list wrote; - is standard input
    ///
    /// The order stays that of the backup. What is left out is not restored, also where something
    /// in the list needs it.
    #[arg(short = 'L', long, value_name = "FILE")]
    pub(crate) use_list: Option<PathBuf>,
}

impl PartSelectionArgs {
    /// What is selected with these.
    ///
    /// # Errors
    /// As [`SelectionArgs::selection`].
    pub(crate) fn selection(&self, selection: &SelectionArgs) -> Result<Selection> {
        let mut all = selection.with_filter()?;
        all.indexes.extend(self.indexes.iter().cloned());
        all.functions.extend(self.functions.iter().cloned());
        all.triggers.extend(self.triggers.iter().cloned());
        Ok(all.selection())
    }
}

/// Flags that leave something out, as typed, and what that is.
type Flags = [(&'static str, bool, &'static [Aspect]); 15];

impl SelectionArgs {
    /// These, and what the file of `--filter` adds.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](pgkeep_engine::ErrorKind::Usage) when the file is no filter.
    pub(crate) fn with_filter(&self) -> Result<Self> {
        let mut args = self.clone();
        if let Some(path) = args.filter.take() {
            filter::read(&path, &mut args)?;
        }
        Ok(args)
    }

    /// What the options mean; the file of `--filter` is not read.
    pub(crate) fn selection(&self) -> Selection {
        let flags = self.flags().into_iter().filter(|(_, set, _)| *set);
        let parts = |kind: Kind, patterns: &[String]| -> Vec<(Kind, String)> {
            patterns.iter().map(|pattern| (kind, pattern.clone())).collect()
        };
        Selection {
            schemas: self.schemas.clone(),
            exclude_schemas: self.exclude_schemas.clone(),
            tables: self.tables.clone(),
            tables_and_children: self.tables_and_children.clone(),
            exclude_tables: self.exclude_tables.clone(),
            exclude_tables_and_children: self.exclude_tables_and_children.clone(),
            exclude_table_data: self.exclude_table_data.clone(),
            exclude_table_data_and_children: self.exclude_table_data_and_children.clone(),
            extensions: self.extensions.clone(),
            exclude_extensions: self.exclude_extensions.clone(),
            large_objects: match (self.large_objects, self.no_large_objects) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            },
            sections: self.sections.clone(),
            sequence_values: self.sequence_data,
            parts: [
                parts(Kind::Index, &self.indexes),
                parts(Kind::Function, &self.functions),
                parts(Kind::Trigger, &self.triggers),
            ]
            .concat(),
            foreign_data: self.foreign_data.clone(),
            listed: None,
            row_filters: Vec::new(),
            provider: self.profile,
            without: flags.flat_map(|(_, _, aspects)| aspects).copied().collect(),
        }
    }

    /// The options as they could be typed, for `pgkeep show`.
    pub(crate) fn as_typed(&self) -> Vec<String> {
        let lists = [
            ("--schema", &self.schemas),
            ("--exclude-schema", &self.exclude_schemas),
            ("--table", &self.tables),
            ("--table-and-children", &self.tables_and_children),
            ("--exclude-table", &self.exclude_tables),
            ("--exclude-table-and-children", &self.exclude_tables_and_children),
            ("--exclude-table-data", &self.exclude_table_data),
            ("--exclude-table-data-and-children", &self.exclude_table_data_and_children),
            ("--extension", &self.extensions),
            ("--exclude-extension", &self.exclude_extensions),
            ("--include-foreign-data", &self.foreign_data),
        ];
        let mut typed = Vec::new();
        for (option, patterns) in lists {
            typed.extend(patterns.iter().map(|pattern| format!("{option}={pattern}")));
        }
        let sections = self.sections.iter().map(|section| values::section_name(*section));
        typed.extend(sections.map(|name| format!("--section={name}")));
        typed.extend(self.profile.map(|provider| format!("--profile={}", provider.name())));
        let others = [
            ("--sequence-data", self.sequence_data),
            ("--large-objects", self.large_objects),
            ("--no-large-objects", self.no_large_objects),
        ];
        let flags = self.flags().into_iter().map(|(option, set, _)| (option, set)).chain(others);
        typed.extend(flags.filter(|(_, set)| *set).map(|(option, _)| option.to_owned()));
        typed
    }

    fn flags(&self) -> Flags {
        [
            ("--schema-only", self.schema_only, &[Aspect::Rows, Aspect::Statistics]),
            ("--data-only", self.data_only, &[Aspect::Definitions, Aspect::Statistics]),
            ("--statistics-only", self.statistics_only, &[Aspect::Definitions, Aspect::Rows]),
            ("--no-data", self.no_data, &[Aspect::Rows]),
            ("--no-schema", self.no_schema, &[Aspect::Definitions]),
            ("--no-statistics", self.no_statistics, &[Aspect::Statistics]),
            ("--no-owner", self.no_owner, &[Aspect::Owners]),
            ("--no-privileges", self.no_privileges, &[Aspect::Privileges]),
            ("--no-comments", self.no_comments, &[Aspect::Comments]),
            ("--no-policies", self.no_policies, &[Aspect::Policies]),
            ("--no-publications", self.no_publications, &[Aspect::Publications]),
            ("--no-subscriptions", self.no_subscriptions, &[Aspect::Subscriptions]),
            ("--no-security-labels", self.no_security_labels, &[Aspect::SecurityLabels]),
            ("--no-tablespaces", self.no_tablespaces, &[Aspect::Tablespaces]),
            ("--no-table-access-method", self.no_table_access_method, &[Aspect::AccessMethods]),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selection_is_kept_as_it_could_be_typed() {
        let args = SelectionArgs {
            schemas: vec!["app".into()],
            exclude_table_data: vec!["app.log*".into()],
            schema_only: true,
            ..SelectionArgs::default()
        };
        assert_eq!(
            args.as_typed(),
            ["--schema=app", "--exclude-table-data=app.log*", "--schema-only"]
        );
    }
}
