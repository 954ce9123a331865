//! Stopping what a session is doing, from outside: a CancelRequest over a connection of its
//! own. The server gives no answer; the command, if it was still running, ends with an
//! error of SQLSTATE 57014.
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>

use super::connect;
use super::driver::Settled;
use super::settings::Settings;
use crate::{Error, ErrorKind, Result};
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::AsyncWriteExt;
use tokio_postgres::CancelToken;

/// Stops the command that a session runs.
#[derive(Clone)]
pub struct Cancel {
    settings: Settings,
    key: Key,
}

/// What the server knows a session by.
#[derive(Clone)]
pub(super) enum Key {
    /// A session of the driver.
    Driver(CancelToken),
    /// A session of our own; absent when the server (a pooler) gave none.
    Own(Option<BackendKey>),
}

/// The contents of BackendKeyData.
#[derive(Clone, Copy)]
pub(super) struct BackendKey {
    pub(super) process: i32,
    pub(super) secret: i32,
}

impl Cancel {
    pub(super) fn new(settings: Settings, key: Key) -> Self {
        Self { settings, key }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks the server to stop the command that runs now, if any.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] when the request could not be sent.
    pub async fn send(&self) -> Result<()> {
        let broken = || Error::new(ErrorKind::Connection, "could not send the cancel request");
        match &self.key {
            Key::Driver(token) => {
                let stream = connect::open_again(&self.settings).await?;
                let sent = token.cancel_query_raw(stream, Settled).await;
                sent.map_err(|error| broken().because(error))
            }
            Key::Own(None) => {
                let message = "server gave no key to cancel with";
                Err(Error::new(ErrorKind::Connection, message))
            }
            Key::Own(Some(key)) => {
                let mut stream = connect::open_again(&self.settings).await?;
                let mut request = BytesMut::new();
                frontend::cancel_request(key.process, key.secret, &mut request);
                stream.write_all(&request).await.map_err(|error| broken().because(error))?;
                stream.shutdown().await.map_err(|error| broken().because(error))
            }
        }
    }

    /// Asks in the background, for a session that is going away. Without an async runtime
    /// there is nobody to ask; the server then finds out by itself.
    pub(super) fn send_detached(self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = self.send().await {
                tracing::debug!("{error:?}");
            }
        });
    }
}
