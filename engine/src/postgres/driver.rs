//! The login of a [`Session`](super::Session) through tokio-postgres over a stream that is
//! open already, with TLS or without, and what its errors mean here.

use super::connect::{Greeting, Login};
use super::guard::{Guarded, Reason};
use super::settings::ChannelBinding;
use super::socket::Stream;
use super::{ServerError, tls};
use crate::{Error, ErrorKind, Result};
use std::future::{Ready, ready};
use tokio::task::JoinHandle;
use tokio_postgres::config::{self, SslMode, SslNegotiation};
use tokio_postgres::tls::{TlsConnect, TlsStream};
use tokio_postgres::{AsyncMessage, Client, Config, Connection};

/// A session of the driver: the client, and the task that moves its bytes.
pub(super) struct Driver {
    pub(super) client: Client,
    pub(super) connection: JoinHandle<()>,
    /// Why it ended, where the server sent what nobody can take.
    pub(super) reason: Reason,
}

/// "Connects" TLS by handing the stream through: whether there is TLS was settled before.
/// So the driver learns what SCRAM can bind to.
pub(super) struct Settled;

impl<S: TlsStream + Unpin> TlsConnect<S> for Settled {
    type Stream = S;
    type Error = std::io::Error;
    type Future = Ready<Result<S, std::io::Error>>;

    fn connect(self, stream: S) -> Self::Future {
        ready(Ok(stream))
    }
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> tokio_postgres::tls::ChannelBinding {
        use tokio_postgres::tls::ChannelBinding;
        tls::channel_binding(self)
            .map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl TlsStream for &mut Stream {
    fn channel_binding(&self) -> tokio_postgres::tls::ChannelBinding {
        TlsStream::channel_binding(&**self)
    }
}

/// Logs in.
///
/// # Errors
/// [`ErrorKind::Connection`] when the connection breaks, [`ErrorKind::Authentication`] and
/// others as the server says.
pub(super) async fn log_in(stream: Stream, login: Login) -> Result<(Driver, Greeting)> {
    let mut config = Config::new();
    config
        .user(&login.user)
        .dbname(&login.database)
        .application_name(&login.application_name)
        // Together these two make the driver take the stream as it is.
        .ssl_mode(SslMode::Require)
        .ssl_negotiation(SslNegotiation::Direct)
        .channel_binding(match login.channel_binding {
            ChannelBinding::Disable => config::ChannelBinding::Disable,
            ChannelBinding::Prefer => config::ChannelBinding::Prefer,
            ChannelBinding::Require => config::ChannelBinding::Require,
        });
    if let Some(options) = &login.options {
        config.options(options);
    }
    if let Some(password) = &login.password {
        config.password(password.reveal());
    }
    let without_password = login.password.is_none();
    let guarded = Guarded::new(stream);
    let reason = guarded.reason();
    let (client, connection) = config
        .connect_raw(guarded, Settled)
        .await
        .map_err(|error| login_error(error, without_password))?;
    let on = |name| connection.parameter(name) == Some("on");
    let greeting = Greeting {
        in_hot_standby: on("in_hot_standby"),
        default_transaction_read_only: on("default_transaction_read_only"),
    };
    Ok((Driver { client, connection: tokio::spawn(run(connection)), reason }, greeting))
}

/// Moves the bytes and passes notices to the log. How it ends, the next command finds out.
async fn run(mut connection: Connection<Guarded, Guarded>) {
    while let Some(Ok(message)) =
        std::future::poll_fn(|context| connection.poll_message(context)).await
    {
        if let AsyncMessage::Notice(notice) = message {
            ServerError::from_driver(&notice).log_notice();
        }
    }
}

fn login_error(error: tokio_postgres::Error, without_password: bool) -> Error {
    if let Some(refusal) = error.as_db_error() {
        return ServerError::from_driver(refusal).into_error("server refused the login");
    }
    // The driver keeps what kind of error it is to its text.
    match error.to_string().as_str() {
        "invalid configuration" if without_password => {
            Error::new(ErrorKind::Authentication, "server wants a password and none is given")
        }
        text if text.starts_with("authentication error") => {
            Error::new(ErrorKind::Authentication, "could not authenticate").because(error)
        }
        _ => Error::new(ErrorKind::Connection, "server broke the connection off").because(error),
    }
}

/// What an error of a command means.
pub(super) fn command_error(error: tokio_postgres::Error, reason: &Reason) -> Error {
    if let Some(refusal) = error.as_db_error() {
        return ServerError::from_driver(refusal).into_error("server reported an error");
    }
    let message = reason.get().unwrap_or("connection to the server is lost");
    Error::new(ErrorKind::Connection, message).because(error)
}
