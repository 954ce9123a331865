//! The command line as a whole: it holds together, and what users read about it is there.

use super::{Cli, Command};
use clap::{CommandFactory, Parser};

const CONTRACT: &str = include_str!("../../../docs/cli-contract.md");

fn parse(words: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("pgkeep").chain(words.split_whitespace()))
}

#[test]
fn clap_finds_no_fault_with_the_arguments() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_of_every_command_has_an_example() {
    let mut root = Cli::command();
    root.build();
    for command in root.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let name = command.get_name().to_owned();
        let help = command.render_help().to_string();
        assert!(help.contains(&format!("Example:\n  pgkeep {name}")), "{name}: {help}");
    }
}

#[test]
fn every_option_and_variable_is_in_the_contract() {
    let mut root = Cli::command();
    root.build();
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        assert!(CONTRACT.contains(&format!("pgkeep {}", command.get_name())));
        let own = command.get_subcommands().flat_map(clap::Command::get_arguments);
        for option in command.get_arguments().chain(own).filter_map(clap::Arg::get_long) {
            let (name, code) = (command.get_name(), format!("`--{option}"));
            assert!(CONTRACT.contains(&code), "--{option} of {name} is not in the contract");
        }
    }
    for variable in [
        "PGKEEP_REPO",
        "PGKEEP_IDENTITY",
        "PGKEEP_WRITER",
        "BACKUP_BUCKET",
        "AWS_CA_BUNDLE",
        "PGKEEP_LIMIT_UPLOAD",
        "PGKEEP_LIMIT_DOWNLOAD",
        "PGKEEP_STORAGE_CLASS",
        "PGKEEP_SSE",
        "PGKEEP_SSE_KMS_KEY_ID",
        "PGKEEP_OBJECT_LOCK_MODE",
        "PGKEEP_OBJECT_LOCK_DAYS",
        "NO_COLOR",
        "DATABASE_URL",
    ] {
        assert!(CONTRACT.contains(variable), "{variable}");
    }
}

#[test]
fn every_error_kind_and_exit_code_is_in_the_contract() {
    use pgkeep_engine::ErrorKind::*;
    for kind in [
        Usage,
        NoRepository,
        UnsupportedFormat,
        WrongKey,
        NotFound,
        AlreadyExists,
        Damaged,
        Untrusted,
        Store,
        StoreUnavailable,
        StoreFull,
        Retained,
        Connection,
        Authentication,
        Server,
        Privilege,
        LockTimeout,
        Changed,
        RolledBack,
        UnsupportedServer,
        Interrupted,
        Internal,
    ] {
        let name = crate::exit::kind_name(kind);
        let code = crate::exit::Exit::from(kind).code();
        assert!(CONTRACT.contains(&format!("| `{name}` | {code} |")), "{name} {code}");
    }
}

#[test]
fn the_host_is_h_and_help_has_no_short_form() {
    let cli = parse("backup -h db.internal -p 5433 -U app -d shop").unwrap();
    let Command::Backup(args) = cli.command else { panic!("not a backup") };
    assert_eq!(args.connection.host.as_deref(), Some("db.internal"));
    assert_eq!(parse("list --help").unwrap_err().kind(), clap::error::ErrorKind::DisplayHelp);
    assert!(parse("list -h").is_err());
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for words in [
        "backup -s -a",
        "restore -s -a -d x",
        "restore --if-exists -d x",
        "restore --clean -a -d x",
        "restore file --repo dir -d x",
        "restore -1 --create -d x",
        "restore --disable-triggers -d x",
        "restore -1 --all-databases -d x",
        "init --no-encryption --recipient age1x",
        "backup --tag novalue",
        "backup -j 0",
        "backup --lock-timeout soon",
        "export --format xml",
        "man backup --output dir",
    ] {
        let error = parse(words).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{words}: {error}");
    }
}

#[test]
fn output_options_may_stand_before_or_after_the_command() {
    for words in ["--json list", "list --json", "-v list --json", "list --json -v"] {
        assert!(parse(words).unwrap().output.json, "{words}");
    }
}

#[test]
fn lists_are_repeated_options() {
    let cli = parse("restore -d x -t a -t b.c -T d -n s --rename-schema a=b").unwrap();
    let Command::Restore(args) = cli.command else { panic!("not a restore") };
    assert_eq!(args.selection.tables, ["a", "b.c"]);
    assert_eq!(args.selection.exclude_tables, ["d"]);
    assert_eq!(args.rename_schemas, [("a".to_owned(), "b".to_owned())]);
    assert_eq!(args.backup(), None);
}
