//! Options that name a server and a database, as psql takes them.

use clap::Args;

/// How to reach the database.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// The database: a URI, key=value words, or a name [env: DATABASE_URL, PGDATABASE]
    ///
    /// Whatever is not said here comes from the other options, then from the PG* variables,
    /// the service file and ~/.pgpass, as with psql. Without -d, DATABASE_URL is used when
    /// it is set. A password belongs in ~/.pgpass or PGPASSWORD: others can read a command
    /// line.
    #[arg(short = 'd', long = "dbname", value_name = "URI")]
    pub(crate) dbname: Option<String>,

    /// The server's host, or the directory of its Unix socket [env: PGHOST]
    #[arg(short = 'h', long, value_name = "HOST")]
    pub(crate) host: Option<String>,

    /// The server's port [env: PGPORT]
    #[arg(short = 'p', long, value_name = "PORT")]
    pub(crate) port: Option<String>,

    /// The role to connect as [env: PGUSER]
    #[arg(short = 'U', long, value_name = "ROLE")]
    pub(crate) username: Option<String>,

    /// The role to become after connecting (SET ROLE)
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,
}
