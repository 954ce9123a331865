//! From connection options to the engine's settings.

use crate::access::Context;
use crate::args::ConnectionArgs;
use pgkeep_engine::postgres::{Asked, Settings};
use pgkeep_engine::{Error, ErrorKind, Result};

/// Settles how to reach the server.
///
/// # Errors
/// [`ErrorKind::Usage`] when the options make no sense, or nothing at all says which server
/// or database is meant: a guess is not good enough for a backup or a restore.
pub(super) fn settings(context: &Context, args: &ConnectionArgs) -> Result<Settings> {
    let named = [&args.dbname, &args.host, &args.port, &args.username];
    if named.iter().all(|name| name.is_none()) && !context.environment.names_server {
        return Err(Error::new(ErrorKind::Usage, "no database was named")
            .hint("Name one: -d URI, or set DATABASE_URL or PGDATABASE."));
    }
    let settings = Settings::from_process(&Asked {
        database: args.dbname.clone(),
        host: args.host.clone(),
        port: args.port.clone(),
        user: args.username.clone(),
    })?;
    Ok(settings.with_role(args.role.clone()))
}
