//! `pgkeep completions` and `pgkeep man`: both made from the very arguments that clap reads.

use crate::access::Context;
use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::exit::Exit;
use crate::output::counted;
use clap::CommandFactory;
use pgkeep_engine::{Error, ErrorKind, Result};
use std::path::Path;

/// Prints a completion script.
pub(super) fn completions(context: &Context, args: &CompletionsArgs) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pgkeep", &mut script);
    context.output.data(&script)?;
    Ok(Exit::Done)
}

/// Prints one manual page or writes them all.
pub(super) fn man(context: &Context, args: &ManArgs) -> Result<Exit> {
    let mut pages = pages()?;
    if let Some(directory) = &args.output {
        std::fs::create_dir_all(directory).map_err(|error| {
            let message = format!("could not create directory \"{}\"", directory.display());
            Error::new(ErrorKind::Store, message).because(error)
        })?;
        for (name, page) in &pages {
            write(&directory.join(format!("{name}.1")), page)?;
        }
        context.output.note(&format!(
            "wrote {} to \"{}\"",
            counted(pages.len() as u64, "page"),
            directory.display()
        ));
        return Ok(Exit::Done);
    }
    let wanted = args.page.as_ref().map_or("pgkeep".to_owned(), |page| format!("pgkeep-{page}"));
    let Some(at) = pages.iter().position(|(name, _)| *name == wanted) else {
        let page = args.page.as_deref().unwrap_or_default();
        return Err(Error::new(ErrorKind::Usage, format!("there is no command \"{page}\""))
            .hint("Run: pgkeep --help"));
    };
    context.output.data(&pages.swap_remove(at).1)?;
    Ok(Exit::Done)
}

/// Every page with its name: `pgkeep`, `pgkeep-backup` and so on.
fn pages() -> Result<Vec<(String, Vec<u8>)>> {
    let mut root = Cli::command();
    root.build();
    let mut pages = vec![render(root.clone(), "pgkeep")?];
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("pgkeep-{}", command.get_name());
        pages.push(render(command.clone(), &name)?);
    }
    Ok(pages)
}

fn render(command: clap::Command, name: &str) -> Result<(String, Vec<u8>)> {
    let command = command.version(env!("CARGO_PKG_VERSION"));
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(|error| {
        Error::new(ErrorKind::Internal, format!("could not write manual page \"{name}\""))
            .because(error)
    })?;
    Ok((name.to_owned(), page))
}

fn write(path: &Path, page: &[u8]) -> Result<()> {
    std::fs::write(path, page).map_err(|error| {
        Error::new(ErrorKind::Store, format!("could not write \"{}\"", path.display()))
            .because(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_manual_page_with_its_options() {
        let pages = pages().unwrap();
        assert_eq!(pages.len(), 1 + Cli::command().get_subcommands().count());
        let (name, page) = pages.iter().find(|(name, _)| name == "pgkeep-restore").unwrap();
        let page = String::from_utf8_lossy(page);
        for word in [name.as_str(), "dry\\-run", "rename\\-schema", "EXTRA"] {
            assert!(page.contains(word), "{word}");
        }
    }
}
