//! Options that choose what is meant: the same for a database and for a stored backup.

use super::values;
use clap::Args;
use pgkeep_engine::catalog::{Aspect, Provider, Selection};

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

    /// No tables, views and sequences that match; may be repeated
    #[arg(short = 'T', long = "exclude-table", value_name = "PATTERN")]
    pub(crate) exclude_tables: Vec<String>,

    /// The definition but not the rows of tables that match; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude_table_data: Vec<String>,

    /// Definitions only, no rows
    #[arg(short = 's', long, conflicts_with = "data_only")]
    pub(crate) schema_only: bool,

    /// Rows only, no definitions
    #[arg(short = 'a', long)]
    pub(crate) data_only: bool,

    /// Optimizer statistics only, neither definitions nor rows
    #[arg(long, conflicts_with_all = ["schema_only", "data_only", "no_statistics"])]
    pub(crate) statistics_only: bool,

    /// No optimizer statistics
    #[arg(long)]
    pub(crate) no_statistics: bool,

    /// No owners: everything is to be owned by the role that restores
    #[arg(short = 'O', long)]
    pub(crate) no_owner: bool,

    /// No grants
    #[arg(short = 'x', long, visible_alias = "no-acl")]
    pub(crate) no_privileges: bool,

    /// No tablespaces: everything goes where the database is
    #[arg(long)]
    pub(crate) no_tablespaces: bool,

    /// Whose server it is: what is the provider's alone is left out
    ///
    /// Rows that the user has in tables of the provider, such as auth.users, are backed up, and
    /// restored into the tables that are there.
    #[arg(long, value_name = "PROVIDER", value_parser = values::provider)]
    pub(crate) profile: Option<Provider>,

    /// No access methods: every table is a heap
    #[arg(long)]
    pub(crate) no_table_access_method: bool,
}

/// Flags that leave something out, as typed, and what that is.
type Flags = [(&'static str, bool, &'static [Aspect]); 8];

impl SelectionArgs {
    /// What the options mean.
    pub(crate) fn selection(&self) -> Selection {
        let flags = self.flags().into_iter().filter(|(_, set, _)| *set);
        Selection {
            schemas: self.schemas.clone(),
            exclude_schemas: self.exclude_schemas.clone(),
            tables: self.tables.clone(),
            exclude_tables: self.exclude_tables.clone(),
            exclude_table_data: self.exclude_table_data.clone(),
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
            ("--exclude-table", &self.exclude_tables),
            ("--exclude-table-data", &self.exclude_table_data),
        ];
        let mut typed = Vec::new();
        for (option, patterns) in lists {
            typed.extend(patterns.iter().map(|pattern| format!("{option}={pattern}")));
        }
        typed.extend(self.profile.map(|provider| format!("--profile={}", provider.name())));
        let flags = self.flags().into_iter().filter(|(_, set, _)| *set);
        typed.extend(flags.map(|(option, _, _)| option.to_owned()));
        typed
    }

    fn flags(&self) -> Flags {
        [
            ("--schema-only", self.schema_only, &[Aspect::Rows, Aspect::Statistics]),
            ("--data-only", self.data_only, &[Aspect::Definitions, Aspect::Statistics]),
            ("--statistics-only", self.statistics_only, &[Aspect::Definitions, Aspect::Rows]),
            ("--no-statistics", self.no_statistics, &[Aspect::Statistics]),
            ("--no-owner", self.no_owner, &[Aspect::Owners]),
            ("--no-privileges", self.no_privileges, &[Aspect::Privileges]),
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
