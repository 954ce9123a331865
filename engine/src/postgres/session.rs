//! A session for catalog queries and commands: text in, text out, one statement string at
//! a time by the simple query protocol (so that nothing is prepared and poolers are no
//! matter).

use crate::{Error, ErrorKind, Result};
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// An open session.
pub struct Session {
    client: tokio_postgres::Client,
    version: u32,
}

/// A row of text values.
pub struct Row(tokio_postgres::SimpleQueryRow);

impl Session {
    /// Opens a session by connection URI or keywords.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] when the server cannot be reached.
    pub async fn connect(uri: &str) -> Result<Self> {
        let (client, connection) = tokio_postgres::connect(uri, NoTls).await.map_err(|error| {
            Error::new(ErrorKind::Connection, "could not connect to the server").because(error)
        })?;
        tokio::spawn(connection);
        let mut session = Self { client, version: 0 };
        let rows = session.query("SELECT current_setting('server_version_num') AS version").await?;
        session.version = rows[0].parse("version")?;
        Ok(session)
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

    /// Runs one query and returns its rows.
    ///
    /// # Errors
    /// [`ErrorKind::Server`] with the server's message.
    pub async fn query(&self, sql: &str) -> Result<Vec<Row>> {
        let messages = self.client.simple_query(sql).await.map_err(server_error)?;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(Row(row)),
                _ => None,
            })
            .collect())
    }

    /// Runs statements whose rows do not matter.
    ///
    /// # Errors
    /// [`ErrorKind::Server`] with the server's message.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(server_error)
    }
}

impl Row {
    /// The value of a column, absent when it is NULL.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the query has no such column.
    pub fn optional(&self, column: &str) -> Result<Option<&str>> {
        self.0.try_get(column).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("query has no column \"{column}\""))
                .because(error)
        })
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
            Error::new(ErrorKind::Server, format!("server returned \"{text}\" for \"{column}\""))
        })
    }
}

fn server_error(error: tokio_postgres::Error) -> Error {
    Error::new(ErrorKind::Server, "server reported an error").because(error)
}
