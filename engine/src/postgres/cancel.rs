//! Stopping what a session is doing, from outside: a CancelRequest over a connection of its
//! own. The server gives no answer; the command, if it was still running, ends with an
//! error of SQLSTATE 57014.
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>

use super::connect;
use super::driver::Settled;
use super::settings::Settings;
use super::socket::Stream;
use crate::{Error, ErrorKind, Result};
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::CancelToken;

/// Time for the server to take the request.
const HEARD_LIMIT: Duration = Duration::from_secs(5);

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

    /// The process id that the server gave with its key; 0 when it gave none.
    pub(super) fn backend(&self) -> u32 {
        match &self.key {
            Key::Own(Some(key)) => u32::try_from(key.process).unwrap_or(0),
            _ => 0,
        }
    }

    /// Asks the server to stop the command that runs now, if any, and waits until it has
    /// heard: a command that is sent afterwards is not meant.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] when the request could not be sent.
    pub async fn send(&self) -> Result<()> {
        let mut stream = connect::open_again(&self.settings).await?;
        self.write(&mut stream).await?;
        // The server signals the session's process and then closes.
        let mut nothing = [0; 16];
        let heard = async { while let Ok(1..) = stream.read(&mut nothing).await {} };
        if tokio::time::timeout(HEARD_LIMIT, heard).await.is_err() {
            tracing::debug!("server did not close the connection of the cancel request");
        }
        Ok(())
    }

    async fn write(&self, stream: &mut Stream) -> Result<()> {
        let broken = || Error::new(ErrorKind::Connection, "could not send the cancel request");
        match &self.key {
            Key::Driver(token) => {
                let sent = token.cancel_query_raw(stream, Settled).await;
                sent.map_err(|error| broken().because(error))
            }
            Key::Own(None) => {
                let message = "server gave no key to cancel with";
                Err(Error::new(ErrorKind::Connection, message))
            }
            Key::Own(Some(key)) => {
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
