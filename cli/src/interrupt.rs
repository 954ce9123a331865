//! SIGINT and SIGTERM: the first one asks the work to stop and leave things in order, the
//! second one ends the process at once. The repository is good either way.

use crate::exit::Exit;
use pgkeep_engine::progress::{Interrupt, Interrupter, interrupt};
use pgkeep_engine::{Error, ErrorKind, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens to signals from now on and calls `stopping` at the first one; needs to be called
/// within the runtime.
///
/// # Errors
/// [`ErrorKind::Internal`] when the system refuses.
pub(crate) fn listen(stopping: impl FnOnce() + Send + 'static) -> Result<Interrupt> {
    let (interrupter, interrupt) = interrupt();
    let failed =
        |error| Error::new(ErrorKind::Internal, "could not listen to signals").because(error);
    let sigint = signal(SignalKind::interrupt()).map_err(failed)?;
    let sigterm = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::spawn(wait(interrupter, stopping, sigint, sigterm));
    Ok(interrupt)
}

async fn wait(
    interrupter: Interrupter,
    stopping: impl FnOnce(),
    mut sigint: Signal,
    mut sigterm: Signal,
) {
    either(&mut sigint, &mut sigterm).await;
    interrupter.interrupt();
    stopping();
    either(&mut sigint, &mut sigterm).await;
    std::process::exit(Exit::Interrupted.code().into());
}

async fn either(sigint: &mut Signal, sigterm: &mut Signal) {
    tokio::select! {
        _ = sigint.recv() => {}
        _ = sigterm.recv() => {}
    }
}
