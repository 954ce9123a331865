//! From connection options to the engine's settings.

use crate::args::ConnectionArgs;
use pgkeep_engine::Result;
use pgkeep_engine::postgres::{Asked, Settings};

/// Settles how to reach the server.
///
/// # Errors
/// [`pgkeep_engine::ErrorKind::Usage`] when the options make no sense.
pub(super) fn settings(args: &ConnectionArgs) -> Result<Settings> {
    Settings::from_process(&Asked {
        database: args.dbname.clone(),
        host: args.host.clone(),
        port: args.port.clone(),
        user: args.username.clone(),
    })
}
