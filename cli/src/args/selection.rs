//! Options that choose what of a stored backup is meant.

use clap::Args;

/// What of a backup to restore, export or list.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selection (patterns as pg_dump takes them)")]
pub(crate) struct StoredSelectionArgs {
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

    /// Definitions only, no rows
    #[arg(short = 's', long, conflicts_with = "data_only")]
    pub(crate) schema_only: bool,

    /// Rows only, no definitions
    #[arg(short = 'a', long)]
    pub(crate) data_only: bool,
}
