//! Stopping what a session is doing, from outside: a CancelRequest over a connection of its
//! own. The server gives no answer; the command, if it was still running, ends with an
//! error of SQLSTATE 57014.
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>

use super::connect;
use super::driver::Settled;
use super::settings::Settings;
use crate::{Error, ErrorKind, Result};
use tokio_postgres::CancelToken;

/// Stops the command that a session runs.
#[derive(Clone)]
pub struct Cancel {
    settings: Settings,
    token: CancelToken,
}

impl Cancel {
    pub(super) fn new(settings: Settings, token: CancelToken) -> Self {
        Self { settings, token }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks the server to stop the command that runs now, if any.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] when the request could not be sent.
    pub async fn send(&self) -> Result<()> {
        let stream = connect::open_again(&self.settings).await?;
        self.token.cancel_query_raw(stream, Settled).await.map_err(|error| {
            Error::new(ErrorKind::Connection, "could not send the cancel request").because(error)
        })
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
