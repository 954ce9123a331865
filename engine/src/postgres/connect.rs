//! The search for a server that lets us in: hosts, their addresses, with TLS or without.
//! What a login is, the two kinds of session say themselves.
//!
//! As libpq: another host is tried when one cannot be reached or is of the wrong kind, not
//! when it refuses us.

use super::ServerError;
use super::settings::{Address, ChannelBinding, Host, Password, Settings, SslMode, TargetSession};
use super::socket::{self, Endpoint, Stream};
use super::tls;
use crate::{Error, ErrorKind, Result};
use futures_util::future::BoxFuture;
use std::time::Duration;

/// What a session needs to log in.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) database: String,
    pub(super) password: Option<Password>,
    pub(super) application_name: String,
    pub(super) options: Option<String>,
    /// The user's wish.
    pub(super) channel_binding: ChannelBinding,
    /// What the stream offers to bind to.
    pub(super) end_point: Option<Vec<u8>>,
}

/// What a server says of itself right after the login (parameters of those names).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Greeting {
    pub(super) in_hot_standby: bool,
    pub(super) default_transaction_read_only: bool,
}

/// Logs in over an open stream.
pub(super) trait Enter<T>:
    Fn(Stream, Login) -> BoxFuture<'static, Result<(T, Greeting)>>
{
}

impl<T, F: Fn(Stream, Login) -> BoxFuture<'static, Result<(T, Greeting)>>> Enter<T> for F {}

/// Finds a server and logs in; returns what the login made, and the settings narrowed to
/// the address that answered.
///
/// # Errors
/// [`ErrorKind::Connection`] when no server could be reached or none is of the wanted kind;
/// else what the first server that answered says.
pub(super) async fn establish<T>(
    settings: &Settings,
    purpose: &str,
    enter: impl Enter<T>,
) -> Result<(T, Settings)> {
    let passes: &[TargetSession] = match settings.target {
        TargetSession::PreferStandby => &[TargetSession::Standby, TargetSession::Any],
        ref one => std::slice::from_ref(one),
    };
    let mut failure = None;
    for target in passes {
        for host in &settings.hosts {
            match try_host(settings, host, *target, purpose, &enter).await {
                Ok(found) => return Ok(found),
                Err(error) if error.kind() == ErrorKind::Connection => failure = Some(error),
                Err(error) => return Err(refused(settings, error)),
            }
        }
    }
    let error = failure.unwrap_or_else(|| Error::new(ErrorKind::Usage, "no host is named"));
    Err(refused(settings, error))
}

/// The error for a session that cannot become the role that it is to be.
pub(super) fn not_that_role(error: Error) -> Error {
    Error::new(error.kind(), "could not become the role of --role")
        .hint("The role must be there, and be granted to the one that connects.")
        .because(error)
}

fn refused(settings: &Settings, error: Error) -> Error {
    let hint = match error.kind() {
        ErrorKind::Connection
            if error.hints().is_empty() && error.cause::<ServerError>().is_none() =>
        {
            Some("Is the server running there? Name another with -h and -p, or a URI with -d.")
        }
        ErrorKind::Authentication if settings.password.is_none() => {
            Some("Give the password in PGPASSWORD or ~/.pgpass.")
        }
        ErrorKind::NotFound => {
            Some("pgkeep connects to a database that is there: name it with -d.")
        }
        _ => None,
    };
    let wrapped = Error::new(error.kind(), format!("could not connect to {settings}"));
    match hint {
        Some(hint) => wrapped.hint(hint).because(error),
        None => wrapped.because(error),
    }
}

async fn try_host<T>(
    settings: &Settings,
    host: &Host,
    target: TargetSession,
    purpose: &str,
    enter: &impl Enter<T>,
) -> Result<(T, Settings)> {
    let mut failure = None;
    for (endpoint, narrowed) in limited(settings, socket::endpoints(host)).await? {
        let way = Way { settings, endpoint: &endpoint, host, purpose };
        match try_endpoint(&way, enter).await {
            Ok((made, greeting)) if fits(target, greeting) => {
                return Ok((made, settings.pinned(narrowed)));
            }
            Ok(_) => {
                let message = format!("server at {narrowed} is not of the wanted kind");
                failure = Some(
                    Error::new(ErrorKind::Connection, message)
                        .hint("target_session_attrs says which kind is wanted."),
                );
            }
            Err(error) if error.kind() == ErrorKind::Connection => failure = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(failure.unwrap_or_else(|| {
        Error::new(ErrorKind::Connection, format!("{host} has no address to connect to"))
    }))
}

fn fits(target: TargetSession, greeting: Greeting) -> bool {
    let read_only = greeting.in_hot_standby || greeting.default_transaction_read_only;
    match target {
        TargetSession::Any | TargetSession::PreferStandby => true,
        TargetSession::ReadWrite => !read_only,
        TargetSession::ReadOnly => read_only,
        TargetSession::Primary => !greeting.in_hot_standby,
        TargetSession::Standby => greeting.in_hot_standby,
    }
}

/// One address of a host, and who wants to go there.
struct Way<'a> {
    settings: &'a Settings,
    endpoint: &'a Endpoint,
    host: &'a Host,
    purpose: &'a str,
}

/// Whether a connection begins with a request for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    No,
    IfThere,
    Required,
}

/// Tries one address, with TLS and without as far as `sslmode` allows.
async fn try_endpoint<T>(way: &Way<'_>, enter: &impl Enter<T>) -> Result<(T, Greeting)> {
    let (first, second) = match (way.endpoint, way.settings.tls.mode) {
        (Endpoint::Socket(_), _) | (_, SslMode::Disable) => (Tls::No, None),
        (_, SslMode::Allow) => (Tls::No, Some(Tls::Required)),
        (_, SslMode::Prefer) => (Tls::IfThere, Some(Tls::No)),
        _ => (Tls::Required, None),
    };
    match (attempt(way, first, enter).await, second) {
        (Err(error), Some(second)) if other_way_may_help(first, &error) => {
            tracing::debug!(?second, "trying again: {error:?}");
            attempt(way, second, enter).await
        }
        (done, _) => done,
    }
}

async fn attempt<T>(way: &Way<'_>, tls: Tls, enter: &impl Enter<T>) -> Result<(T, Greeting)> {
    limited(way.settings, async {
        let stream = open(way.settings, way.endpoint, way.host, tls).await?;
        let login = way.login(&stream);
        enter(stream, login).await
    })
    .await
}

/// Whether what failed may work with TLS instead of without, or the reverse: the server has
/// no rule that lets us in this way, or the handshake failed.
fn other_way_may_help(tried: Tls, error: &Error) -> bool {
    match error.cause::<ServerError>() {
        Some(server) => server.sqlstate == "28000",
        None => {
            tried != Tls::No && matches!(error.kind(), ErrorKind::Connection | ErrorKind::Untrusted)
        }
    }
}

async fn open(settings: &Settings, endpoint: &Endpoint, host: &Host, tls: Tls) -> Result<Stream> {
    let stream = socket::open(endpoint).await.map_err(|error| {
        let place = match endpoint {
            Endpoint::Ip(address) => format!("address {address}"),
            Endpoint::Socket(path) => format!("socket \"{}\"", path.display()),
        };
        Error::new(ErrorKind::Connection, format!("could not connect to {place}")).because(error)
    })?;
    match (stream, endpoint) {
        (Stream::Tcp(stream), Endpoint::Ip(address)) if tls != Tls::No => {
            let name = match &host.address {
                Address::Tcp { name, .. } => name.as_str(),
                _ => "",
            };
            let peer = tls::Peer { name, ip: address.ip() };
            tls::negotiate(stream, &settings.tls, peer, tls == Tls::Required).await
        }
        (stream, _) => Ok(stream),
    }
}

impl Way<'_> {
    fn login(&self, stream: &Stream) -> Login {
        let settings = self.settings;
        Login {
            user: settings.user.clone(),
            database: settings.database.clone(),
            // The password file knows the host by the name that was given.
            password: settings.password_for(self.host).cloned(),
            application_name: settings
                .application_name
                .clone()
                .unwrap_or_else(|| format!("pgkeep {}", self.purpose).trim_end().to_owned()),
            options: settings.options.clone(),
            channel_binding: settings.channel_binding,
            end_point: tls::channel_binding(stream),
        }
    }
}

/// Opens a stream to the one address that pinned settings name, for a cancel request.
///
/// # Errors
/// As [`establish`].
pub(super) async fn open_again(settings: &Settings) -> Result<Stream> {
    let nowhere = || Error::new(ErrorKind::Internal, "settings name no host");
    let host = settings.hosts.first().ok_or_else(nowhere)?;
    let endpoints = limited(settings, socket::endpoints(host)).await?;
    let (endpoint, _) = endpoints.first().ok_or_else(nowhere)?;
    let tls = match (endpoint, settings.tls.mode) {
        (Endpoint::Socket(_), _) | (_, SslMode::Disable | SslMode::Allow) => Tls::No,
        (_, SslMode::Prefer) => Tls::IfThere,
        _ => Tls::Required,
    };
    limited(settings, open(settings, endpoint, host, tls)).await
}

/// Gives up after the time that one address has to answer.
async fn limited<T>(settings: &Settings, work: impl Future<Output = Result<T>>) -> Result<T> {
    const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);
    let limit = settings.connect_timeout.unwrap_or(FOREVER);
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let message = format!("server did not answer within {} seconds", limit.as_secs());
        Err(Error::new(ErrorKind::Connection, message)
            .hint("connect_timeout (PGCONNECT_TIMEOUT) sets another limit."))
    })
}
