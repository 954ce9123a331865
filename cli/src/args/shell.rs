//! `pgkeep completions` and `pgkeep man`.

use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_EXAMPLE)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

const COMPLETIONS_EXAMPLE: &str = "\
Example:
  pgkeep completions bash > /etc/bash_completion.d/pgkeep";

/// Print or write the manual pages.
#[derive(Debug, Args)]
#[command(after_help = MAN_EXAMPLE)]
pub(crate) struct ManArgs {
    /// The command whose page to print; pgkeep's own without one
    #[arg(value_name = "COMMAND", conflicts_with = "output")]
    pub(crate) page: Option<String>,

    /// Write the pages of all commands into this directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

const MAN_EXAMPLE: &str = "\
Example:
  pgkeep man --output /usr/local/share/man/man1
  pgkeep man backup | man -l -";
