//! pgkeep: the command line. It parses, settles, runs and maps the result to an exit code;
//! everything that pgkeep can do is in the engine.

mod access;
mod args;
mod commands;
mod environment;
mod exit;
mod interrupt;
mod keyfiles;
mod logging;
mod output;

use access::Context;
use args::Cli;
use clap::Parser;
use clap::error::ErrorKind as ClapErrorKind;
use environment::Environment;
use exit::Exit;
use output::Output;
use std::process::ExitCode;

fn main() -> ExitCode {
    let environment = Environment::read();
    match Cli::try_parse() {
        Ok(cli) => run(&cli, environment),
        Err(error) => refuse(&error),
    }
    .into()
}

fn run(cli: &Cli, environment: Environment) -> Exit {
    let output = Output::new(&cli.output, &environment);
    logging::start(&output);
    let context = Context { environment, output };
    commands::run(&context, &cli.command).unwrap_or_else(|error| {
        context.output.error(&error);
        Exit::from(error.kind())
    })
}

/// Prints what clap has to say: help and version are no failure.
fn refuse(error: &clap::Error) -> Exit {
    let failure = error.use_stderr();
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    let is_help = error.kind() == ClapErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if failure && wants_json && !is_help {
        output::usage_error_as_json(&error.to_string());
    } else {
        // Nobody is left to be told when this cannot be printed.
        let _gone = error.print();
    }
    if failure { Exit::Usage } else { Exit::Done }
}
