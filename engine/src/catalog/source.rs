//! Where catalog readers ask: a server, a server whose answers are recorded, or answers that
//! were recorded before. The readers cannot tell one from another.

use crate::postgres::{Row, Session};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::catalog_image::{Answer, RowOwner};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// To which object each row of an answer belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// To an object of one catalog.
    Object {
        /// The catalog.
        catalog: &'static str,
        /// The column that holds its OID.
        oid: &'static str,
    },
    /// To an object of a catalog that the row names.
    Address {
        /// The column that names the catalog.
        catalog: &'static str,
        /// The column that holds the OID in it.
        oid: &'static str,
    },
    /// To none: the answer stands as a whole.
    Whole,
}

impl Owner {
    /// To an object of one catalog, by the column that holds its OID.
    pub(crate) const fn object(catalog: &'static str, oid: &'static str) -> Self {
        Owner::Object { catalog, oid }
    }

    /// To an object by the columns that hold its catalog and OID.
    pub(crate) const fn address(catalog: &'static str, oid: &'static str) -> Self {
        Owner::Address { catalog, oid }
    }
}

impl From<Owner> for RowOwner {
    fn from(owner: Owner) -> Self {
        let owned = |text: &str| Some(text.to_owned());
        match owner {
            Owner::Object { catalog, oid } => {
                Self { catalog: owned(catalog), catalog_column: None, oid_column: owned(oid) }
            }
            Owner::Address { catalog, oid } => {
                Self { catalog: None, catalog_column: owned(catalog), oid_column: owned(oid) }
            }
            Owner::Whole => Self::default(),
        }
    }
}

/// Where to ask.
pub(crate) enum Source<'a> {
    /// A server, in the caller's transaction.
    Server(&'a Session),
    /// The same, and what it answers is kept.
    Recorder(Recorder<'a>),
    /// Answers that were recorded.
    Image(Replay<'a>),
}

/// A server whose answers are kept.
pub(crate) struct Recorder<'a> {
    session: &'a Session,
    answers: Mutex<Vec<Answer>>,
}

impl<'a> Recorder<'a> {
    /// Has nothing yet.
    pub(crate) fn new(session: &'a Session) -> Self {
        Self { session, answers: Mutex::default() }
    }

    /// The answers in an order that is the same whenever the same queries are asked: changes that are
    /// captured name them by their places.
    pub(crate) fn into_answers(self) -> Vec<Answer> {
        let mut answers = self.answers.into_inner().unwrap_or_else(PoisonError::into_inner);
        answers.sort_by(|a, b| a.sql.cmp(&b.sql));
        answers
    }

    async fn ask(&self, owner: Owner, sql: &str) -> Result<Vec<Row>> {
        let (columns, rows) = self.session.answer(sql).await?;
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if !answers.iter().any(|answer| answer.sql == sql) {
            answers.push(Answer {
                sql: sql.to_owned(),
                owner: owner.into(),
                columns,
                rows: rows.iter().map(Row::values).collect::<Result<_>>()?,
            });
        }
        Ok(rows)
    }
}

/// Answers that were recorded.
pub(crate) struct Replay<'a> {
    version: u32,
    answers: HashMap<&'a str, &'a Answer>,
    /// What no image has: the values of sequences.
    pub(crate) sequences: SequenceStates,
}

/// The last value of each sequence, by its OID, and whether the next one is after it.
pub type SequenceStates = HashMap<u32, (i64, bool)>;

impl<'a> Replay<'a> {
    /// Answers as a server of `version` did.
    pub(crate) fn new(version: u32, answers: &'a [Answer], sequences: SequenceStates) -> Self {
        let answers = answers.iter().map(|answer| (answer.sql.as_str(), answer)).collect();
        Self { version, answers, sequences }
    }

    fn ask(&self, sql: &str) -> Result<Vec<Row>> {
        let answer = self.answers.get(sql).ok_or_else(|| {
            Error::new(
                ErrorKind::UnsupportedFormat,
                format!("catalog image has no answer to: {sql}"),
            )
            .hint("Another version of pgkeep made it; read it with that one.")
        })?;
        let columns: Arc<[String]> = answer.columns.clone().into();
        let rows = answer.rows.iter().map(|row| Row::new(Arc::clone(&columns), row.clone()));
        Ok(rows.collect())
    }
}

impl<'a> Source<'a> {
    /// Asks one query; `owner` says to which object each row belongs.
    pub(crate) async fn ask(&self, owner: Owner, sql: &str) -> Result<Vec<Row>> {
        match self {
            Source::Server(session) => session.query(sql).await,
            Source::Recorder(recorder) => recorder.ask(owner, sql).await,
            Source::Image(replay) => replay.ask(sql),
        }
    }

    /// Whether all can be asked that the server knows now, and not only what an image holds.
    pub(crate) fn is_server(&self) -> bool {
        matches!(self, Source::Server(_))
    }

    /// The session, to ask what no image holds.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] where there is none.
    pub(crate) fn server(&self) -> Result<&'a Session> {
        match self {
            Source::Server(session) => Ok(session),
            Source::Recorder(_) | Source::Image(_) => {
                Err(Error::new(ErrorKind::Usage, "a catalog image can only be read whole"))
            }
        }
    }

    /// The server's version as `server_version_num` gives it.
    pub(crate) fn version(&self) -> u32 {
        match self {
            Source::Server(session) => session.version(),
            Source::Recorder(recorder) => recorder.session.version(),
            Source::Image(replay) => replay.version,
        }
    }

    /// The server's major version.
    pub(crate) fn major(&self) -> u32 {
        self.version() / 10_000
    }
}
