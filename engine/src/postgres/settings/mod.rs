//! How to reach a server: the settled form of URI, keywords, environment, service file and
//! password file.
//!
//! [`Settings`] holds decisions only; nothing here opens a connection. Passwords are kept in
//! a type that does not print, and `Display` names hosts, database and user alone.

mod keywords;
mod passfile;
mod resolve;
mod service;
mod surroundings;
#[cfg(test)]
mod tests;
mod uri;

pub use resolve::Asked;

use resolve::{Resolved, resolve};
#[cfg(test)]
use surroundings::FileContents;
use surroundings::{Process, Surroundings};

use super::quote::identifier;
use crate::Result;
use passfile::Passfile;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where a server listens when nothing says otherwise: Debian's directory, then
/// PostgreSQL's own default.
pub(super) const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Everything needed to open connections to one database.
#[derive(Clone)]
pub struct Settings {
    pub(super) hosts: Vec<Host>,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) password: Option<Password>,
    pub(super) passfile: Arc<Passfile>,
    pub(super) tls: TlsSettings,
    pub(super) channel_binding: ChannelBinding,
    /// The application name, where the user chose one.
    pub(super) application_name: Option<String>,
    /// Command-line options for the server session.
    pub(super) options: Option<String>,
    /// Time for one address to answer and let us in; absent for no limit.
    pub(super) connect_timeout: Option<Duration>,
    pub(super) target: TargetSession,
    /// The role that every session becomes once it is in.
    pub(super) role: Option<String>,
}

/// One server that may answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// How it is reached.
    pub address: Address,
    /// Its port; for a Unix socket a part of the socket's name.
    pub port: u16,
}

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Over TCP; `ip`, where it is set, is used instead of looking up `name`, which then
    /// only serves TLS and the password file.
    Tcp {
        /// The host's name or IP address as given; may be empty when `ip` is set.
        name: String,
        /// The address to connect to.
        ip: Option<IpAddr>,
    },
    /// Over a Unix socket in this directory.
    Unix(PathBuf),
    /// Over a Unix socket in the first of the default directories that has it.
    DefaultUnix,
}

/// How far TLS is wanted; the words and their meaning are libpq's `sslmode`.
/// <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SslMode {
    /// Never.
    Disable,
    /// Only when the server does not let us in without.
    Allow,
    /// Where the server can.
    Prefer,
    /// Always; the certificate is checked only when a root certificate file is there.
    Require,
    /// Always, and the certificate must come from a trusted authority.
    VerifyCa,
    /// As `VerifyCa`, and the certificate must name the host.
    VerifyFull,
}

/// Which certificates are trusted to sign the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RootCertificates {
    /// None was named and the default file is not there.
    Unset,
    /// Those that the operating system trusts.
    System,
    /// Those in this PEM file.
    File(PathBuf),
}

/// What TLS needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsSettings {
    /// How far TLS is wanted.
    pub(super) mode: SslMode,
    /// Which authorities are trusted.
    pub(super) root: RootCertificates,
    /// Our certificate and its key, both PEM files.
    pub(super) client: Option<ClientCertificate>,
    /// Whether to name the host in the handshake.
    pub(super) server_name_indication: bool,
    /// Whether to begin with the handshake, without asking first (`sslnegotiation=direct`,
    /// which servers know since 17).
    pub(super) direct: bool,
    /// Whether to refuse anything older than TLS 1.3.
    pub(super) only_tls13: bool,
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientCertificate {
    /// PEM file of the certificate, with its chain.
    pub(super) certificate: PathBuf,
    /// PEM file of the private key.
    pub(super) key: PathBuf,
}

/// Whether SCRAM is tied to the TLS connection that it runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelBinding {
    /// Never.
    Disable,
    /// Where both sides can.
    Prefer,
    /// Always, or not connect.
    Require,
}

/// Which kind of server is acceptable; libpq's `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetSession {
    /// Any that answers.
    Any,
    /// One that takes writes.
    ReadWrite,
    /// One that takes no writes.
    ReadOnly,
    /// One that is not in recovery.
    Primary,
    /// One that is in recovery.
    Standby,
    /// One in recovery if there is any, else any.
    PreferStandby,
}

/// A password; does not print.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Password(String);

impl Settings {
    /// Settles settings from what was asked and from this process: its environment, files
    /// and user. Warnings go to the log.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Usage`] when the settings make no sense.
    pub fn from_process(asked: &Asked) -> Result<Self> {
        let Resolved { settings, warnings } = resolve(asked, &Process)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(settings)
    }

    /// The same server and user, another database.
    #[must_use]
    pub fn with_database(&self, name: impl Into<String>) -> Self {
        Self { database: name.into(), ..self.clone() }
    }

    /// The same, with sessions that become another role once they are in.
    #[must_use]
    pub fn with_role(&self, role: Option<String>) -> Self {
        Self { role, ..self.clone() }
    }

    /// The statement that makes a session the role that it is to be, if another than the
    /// one that logs in.
    pub(super) fn role_sql(&self) -> Option<String> {
        self.role.as_deref().map(|role| format!("SET ROLE {}", identifier(role)))
    }

    /// The name of the database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The name of the role.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The servers that may answer, in the order in which they are asked.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The hosts alone, for people: `db.example.org:5432`, with `,` between several.
    #[must_use]
    pub fn host_text(&self) -> String {
        let texts: Vec<String> = self.hosts.iter().map(Host::text).collect();
        texts.join(",")
    }

    /// The password for `host`: the one given, else the one in the password file.
    pub(super) fn password_for(&self, host: &Host) -> Option<&Password> {
        self.password.as_ref().or_else(|| {
            self.passfile.find(&host.passfile_name(), host.port, &self.database, &self.user)
        })
    }

    /// Whether the server is on this machine for certain: it is reached by a Unix socket.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.hosts.iter().all(|host| !matches!(host.address, Address::Tcp { .. }))
    }

    /// The same settings for the one host that answered, so that all connections of a run
    /// reach the same server.
    pub(super) fn pinned(&self, host: Host) -> Self {
        Self { hosts: vec![host], ..self.clone() }
    }
}

impl Host {
    fn text(&self) -> String {
        let port = self.port;
        match &self.address {
            Address::Tcp { name, ip: Some(ip) } if name.is_empty() => format!("{ip}:{port}"),
            Address::Tcp { name, .. } => format!("{name}:{port}"),
            Address::Unix(directory) => format!("{}:{port}", directory.display()),
            Address::DefaultUnix => format!("local:{port}"),
        }
    }

    /// The name under which the password file knows the host: `localhost` for a socket in a
    /// default directory.
    fn passfile_name(&self) -> String {
        match &self.address {
            Address::Tcp { name, ip: Some(ip) } if name.is_empty() => ip.to_string(),
            Address::Tcp { name, .. } => name.clone(),
            Address::DefaultUnix => "localhost".to_owned(),
            Address::Unix(directory) => {
                let text = directory.to_string_lossy();
                let default = SOCKET_DIRECTORIES.contains(&text.trim_end_matches('/'));
                if default { "localhost".to_owned() } else { text.into_owned() }
            }
        }
    }
}

impl Password {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The password itself, to be sent and for nothing else.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.address {
            Address::Tcp { name, ip: Some(ip) } if name.is_empty() => {
                write!(f, "host \"{ip}\", port {port}")
            }
            Address::Tcp { name, ip: Some(ip) } if *name != ip.to_string() => {
                write!(f, "host \"{name}\" ({ip}), port {port}")
            }
            Address::Tcp { name, .. } => write!(f, "host \"{name}\", port {port}"),
            Address::Unix(directory) => {
                write!(f, "socket \"{}/.s.PGSQL.{port}\"", directory.display())
            }
            Address::DefaultUnix => write!(f, "the local socket of port {port}"),
        }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "database \"{}\" as user \"{}\" at ", self.database, self.user)?;
        for (position, host) in self.hosts.iter().enumerate() {
            if position > 0 {
                f.write_str(" or ")?;
            }
            write!(f, "{host}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("hosts", &self.hosts)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("password", &self.password)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
