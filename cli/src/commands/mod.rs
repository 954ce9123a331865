//! The commands: each takes its arguments to the engine and hands the result to the output.

mod backup;
mod connect;
mod copy;
mod entry_list;
mod export;
mod forget;
mod init;
mod key;
mod list;
mod log;
mod ls;
mod moment;
mod prune;
mod repair;
mod restore;
mod shell;
mod show;
mod stream;
mod verify;
mod view;
mod writer;

use crate::access::Context;
use crate::args::Command;
use crate::exit::Exit;
use pgkeep_engine::{Error, ErrorKind, Result};
use std::future::Future;

/// Runs a command.
///
/// # Errors
/// Whatever the command reports; its kind decides the exit code.
pub(crate) fn run(context: &Context, command: &Command) -> Result<Exit> {
    match command {
        Command::Init(args) => wait(init::run(context, args)),
        Command::Backup(args) => wait(backup::run(context, args)),
        Command::Restore(args) => wait(restore::run(context, args)),
        Command::Export(args) => wait(export::run(context, args)),
        Command::List(args) => wait(list::run(context, args)),
        Command::Show(args) => wait(show::run(context, args)),
        Command::Ls(args) => wait(ls::run(context, args)),
        Command::Verify(args) => wait(verify::run(context, args)),
        Command::Key(args) => wait(key::run(context, args)),
        Command::Writer(args) => wait(writer::run(context, args)),
        Command::Repair(args) => wait(repair::run(context, args)),
        Command::Copy(args) => wait(copy::run(context, args)),
        Command::Forget(args) => wait(forget::run(context, args)),
        Command::Prune(args) => wait(prune::run(context, args)),
        Command::Setup(args) => wait(stream::setup(context, args)),
        Command::Stream(args) => wait(stream::run(context, args)),
        Command::Mark(args) => wait(stream::mark(context, args)),
        Command::Log(args) => wait(log::run(context, args)),
        Command::Teardown(args) => wait(stream::teardown(context, args)),
        Command::Completions(args) => shell::completions(context, args),
        Command::Man(args) => shell::man(context, args),
    }
}

/// Runs a command's future to its end; only here is a runtime made, so that help and
/// completions begin at once.
fn wait(command: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Error::new(ErrorKind::Internal, "could not start the runtime").because(error)
    })?;
    let result = runtime.block_on(command);
    // What still runs in the background is not waited for: an interrupted run must end.
    runtime.shutdown_background();
    result
}
