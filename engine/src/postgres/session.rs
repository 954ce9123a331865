//! A session for catalog queries and commands: text in, text out, one statement string at
//! a time by the simple query protocol (so that nothing is prepared and poolers are no
//! matter). Rows in bulk go through [`super::WireSession`].

use super::cancel::{Cancel, Key};
use super::connect;
use super::driver;
use super::guard::Reason;
use super::settings::Settings;
use crate::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage};

/// The oldest server that is supported.
const OLDEST_MAJOR: u32 = 14;

/// The newest server that pgkeep was tested with.
const NEWEST_MAJOR: u32 = 18;

/// Time for the farewell of [`Session::close`]; after it the socket is closed all the same.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// An open session.
///
/// Dropping it closes the connection at once: the server rolls back and lets go of all
/// locks. A command whose future was dropped before its end is cancelled at the server, and
/// the session takes no further ones.
pub struct Session {
    /// Absent once closed.
    client: Option<Client>,
    /// Moves the bytes; ends when the client is gone.
    connection: JoinHandle<()>,
    reason: Reason,
    cancel: Cancel,
    version: u32,
    backend: u32,
    abandoned: AtomicBool,
}

/// A row of text values.
pub struct Row(Values);

enum Values {
    /// As the driver gives them.
    Driver(tokio_postgres::SimpleQueryRow),
    /// As [`super::WireSession`] read them, with the names of their columns.
    Own { columns: Arc<[String]>, values: Vec<Option<String>> },
}

/// The row of an answer that has one.
///
/// # Errors
/// [`ErrorKind::Server`] when it has none.
pub fn only(rows: &[Row]) -> Result<&Row> {
    rows.first().ok_or_else(|| Error::new(ErrorKind::Server, "server returned no row"))
}

impl Session {
    /// Opens a session; `purpose` is a word for the application name: `pgkeep PURPOSE`.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`], [`ErrorKind::Authentication`] or [`ErrorKind::NotFound`]
    /// when no server lets us in, [`ErrorKind::UnsupportedServer`] when it is too old.
    pub async fn connect(settings: &Settings, purpose: &str) -> Result<Self> {
        let (driver, settings) = connect::establish(settings, purpose, |stream, login| {
            Box::pin(driver::log_in(stream, login))
        })
        .await?;
        let mut session = Self {
            cancel: Cancel::new(settings, Key::Driver(driver.client.cancel_token())),
            client: Some(driver.client),
            connection: driver.connection,
            reason: driver.reason,
            version: 0,
            backend: 0,
            abandoned: AtomicBool::new(false),
        };
        let facts = session
            .query(
                "SELECT pg_catalog.current_setting('server_version_num') AS version, \
                 pg_catalog.pg_backend_pid() AS backend",
            )
            .await?;
        let row = facts.first().ok_or_else(|| {
            Error::new(ErrorKind::Connection, "server does not say which version it is")
        })?;
        session.version = row.parse("version")?;
        session.backend = row.parse("backend")?;
        session.check_version()?;
        session.watch_client().await?;
        if let Some(sql) = session.settings().role_sql() {
            session.execute(&sql).await.map_err(connect::not_that_role)?;
        }
        Ok(session)
    }

    fn check_version(&self) -> Result<()> {
        let major = self.major();
        if major < OLDEST_MAJOR {
            let message = format!("server of PostgreSQL {major} is not supported");
            return Err(Error::new(ErrorKind::UnsupportedServer, message)
                .hint(format!("pgkeep needs PostgreSQL {OLDEST_MAJOR} or newer.")));
        }
        if major > NEWEST_MAJOR {
            tracing::warn!(
                "server is PostgreSQL {major}; this pgkeep was tested up to {NEWEST_MAJOR}"
            );
        }
        Ok(())
    }

    /// Makes the server look every now and then whether we are still there, so that a long
    /// command does not outlive a pgkeep that was killed. Not every platform can.
    async fn watch_client(&self) -> Result<()> {
        match self.execute(WATCH_CLIENT).await {
            Err(error) if error.kind() == ErrorKind::Server => {
                tracing::debug!("{error:?}");
                Ok(())
            }
            done => done,
        }
    }

    /// The server's version as `server_version_num` gives it: 150004 for 15.4.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The server's major version: 15 for 15.4.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.version / 10_000
    }

    /// The process id of the server's side.
    #[must_use]
    pub fn backend(&self) -> u32 {
        self.backend
    }

    /// The settings narrowed to the address that answered: further sessions opened with
    /// these reach the same server, whatever the list of hosts was.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        self.cancel.settings()
    }

    /// A handle that can stop what this session does.
    #[must_use]
    pub fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Runs one query and returns its rows.
    ///
    /// # Errors
    /// The kind that the SQLSTATE stands for, else [`ErrorKind::Server`], with
    /// [`super::ServerError`] as cause; [`ErrorKind::Connection`] when the session is lost.
    pub async fn query(&self, sql: &str) -> Result<Vec<Row>> {
        Ok(self.answer(sql).await?.1)
    }

    /// Runs one query and returns the names of its columns, and its rows.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn answer(&self, sql: &str) -> Result<(Vec<String>, Vec<Row>)> {
        let messages = self.guarded(self.client()?.simple_query(sql)).await?;
        let (mut columns, mut rows) = (Vec::new(), Vec::new());
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(described) => {
                    columns = described.iter().map(|column| column.name().to_owned()).collect();
                }
                SimpleQueryMessage::Row(row) => rows.push(Row(Values::Driver(row))),
                _ => {}
            }
        }
        Ok((columns, rows))
    }

    /// Runs statements whose rows do not matter.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn execute(&self, sql: &str) -> Result<()> {
        self.guarded(self.client()?.batch_execute(sql)).await
    }

    /// Says goodbye and waits until the connection is closed. Calling it again does nothing.
    pub async fn close(&mut self) {
        // The driver says goodbye when its client is gone.
        if self.client.take().is_none() {
            return;
        }
        if tokio::time::timeout(CLOSE_LIMIT, &mut self.connection).await.is_err() {
            tracing::debug!("server did not close the connection in time");
            self.connection.abort();
        }
    }

    fn client(&self) -> Result<&Client> {
        let closed = || Error::new(ErrorKind::Connection, "session is closed");
        self.client.as_ref().ok_or_else(closed)
    }

    /// Runs a command, and cancels it if its future is dropped half way.
    async fn guarded<T>(
        &self,
        command: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        if self.abandoned.load(Ordering::Relaxed) {
            let message = "session was left in the middle of a command";
            return Err(Error::new(ErrorKind::Connection, message));
        }
        let guard = Abandon(self);
        let done = command.await;
        std::mem::forget(guard);
        done.map_err(|error| driver::command_error(error, &self.reason))
    }
}

/// The server looks for its client this often while it runs a command.
pub(super) const WATCH_CLIENT: &str = "SET client_connection_check_interval = '5s'";

/// Cancels the command of a session when dropped.
struct Abandon<'a>(&'a Session);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Relaxed);
        self.0.cancel().send_detached();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Without this the driver would first wait for the running command's end.
        self.connection.abort();
    }
}

impl Row {
    /// Makes a row of values that were text already.
    #[must_use]
    pub fn new(columns: Arc<[String]>, values: Vec<Option<String>>) -> Self {
        Self(Values::Own { columns, values })
    }

    /// All values in the order of the columns; absent where NULL.
    ///
    /// # Errors
    /// [`ErrorKind::Server`] when one is no text.
    pub fn values(&self) -> Result<Vec<Option<String>>> {
        match &self.0 {
            Values::Own { values, .. } => Ok(values.clone()),
            Values::Driver(row) => (0..row.len())
                .map(|at| {
                    row.try_get(at).map(|value| value.map(str::to_owned)).map_err(|error| {
                        Error::new(ErrorKind::Server, "server returned no text").because(error)
                    })
                })
                .collect(),
        }
    }

    /// The value of a column, absent when it is NULL.
    ///
    /// # Errors
    /// [`ErrorKind::Server`] when the answer has no such column, or no text in it.
    pub fn optional(&self, column: &str) -> Result<Option<&str>> {
        let missing =
            || Error::new(ErrorKind::Server, format!("server returned no text for \"{column}\""));
        match &self.0 {
            Values::Driver(row) => row.try_get(column).map_err(|error| missing().because(error)),
            Values::Own { columns, values } => {
                let at = columns.iter().position(|name| name == column);
                at.and_then(|at| values.get(at)).map(Option::as_deref).ok_or_else(missing)
            }
        }
    }

    /// The value of a column that is not NULL.
    ///
    /// # Errors
    /// [`ErrorKind::Server`] when it is NULL all the same.
    pub fn text(&self, column: &str) -> Result<&str> {
        self.optional(column)?.ok_or_else(|| {
            Error::new(ErrorKind::Server, format!("server returned NULL for \"{column}\""))
        })
    }

    /// The value of a boolean column.
    ///
    /// # Errors
    /// As [`Row::text`].
    pub fn bool(&self, column: &str) -> Result<bool> {
        Ok(self.text(column)? == "t")
    }

    /// The value of a numeric column, read as `T`.
    ///
    /// # Errors
    /// As [`Row::text`], and [`ErrorKind::Server`] when it is not such a number.
    pub fn parse<T: std::str::FromStr>(&self, column: &str) -> Result<T> {
        let text = self.text(column)?;
        text.parse().map_err(|_| {
            Error::new(
                ErrorKind::Server,
                format!("server returned \"{text:.100}\" for \"{column}\""),
            )
        })
    }
}
