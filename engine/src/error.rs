//! The engine's error: a kind to act on, a message in PostgreSQL's grammar, hints that say
//! what to do, and the cause.
//!
//! `Display` prints the message alone; the causes are behind [`std::error::Error::source`],
//! and the edge prints the chain once.

use pgkeep_format::FormatError;
use std::fmt;

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong; decides exit codes and what is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request makes no sense as it stands.
    Usage,
    /// There is no repository where one was named.
    NoRepository,
    /// The repository, or an object of it, is of a format this program does not read.
    UnsupportedFormat,
    /// The identity or writer credential does not fit the repository.
    WrongKey,
    /// A backup, table or object that was named is not there.
    NotFound,
    /// Something is there already and would have to be replaced.
    AlreadyExists,
    /// Stored bytes are missing, changed or make no sense.
    Damaged,
    /// A signature is missing, wrong, or by somebody who is not trusted.
    Untrusted,
    /// The store refused or failed.
    Store,
    /// The store does not answer, or says that it cannot just now.
    StoreUnavailable,
    /// The store has no room left.
    StoreFull,
    /// The store does not let an object go: its time is not over, or a policy forbids it.
    Retained,
    /// The server could not be reached or the connection broke.
    Connection,
    /// The server refused who we are.
    Authentication,
    /// The server answered with an error.
    Server,
    /// The role lacks a right on the server.
    Privilege,
    /// A lock could not be had in time.
    LockTimeout,
    /// What was to be read was changed by somebody else meanwhile.
    Changed,
    /// The repository is older than what was seen of it before.
    RolledBack,
    /// A server of a version that is not supported.
    UnsupportedServer,
    /// The user stopped it.
    Interrupted,
    /// A rule of this program's own was broken: a bug.
    Internal,
}

/// What went wrong, for people and for programs.
pub struct Error {
    kind: ErrorKind,
    message: String,
    hints: Vec<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Whether the store failed, rather than what lies in it.
    pub(crate) fn is_of_store(&self) -> bool {
        matches!(self.kind, ErrorKind::Store | ErrorKind::StoreUnavailable)
    }

    /// Makes an error of `kind`; `message` is lower case, one line, with no full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new(), source: None }
    }

    /// Adds a hint: a whole sentence or command that says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// The error for bytes that do not decode: damaged, or of a newer format. `what` names
    /// them, as in `object "packs/…"`.
    pub fn undecodable(what: impl fmt::Display, error: FormatError) -> Self {
        match error {
            FormatError::Version { .. } | FormatError::Feature { .. } => {
                Self::new(ErrorKind::UnsupportedFormat, format!("{what} is of a newer format"))
                    .because(error)
                    .hint("Use a newer version of pgkeep.")
            }
            error => Self::new(ErrorKind::Damaged, format!("{what} is damaged")).because(error),
        }
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The first cause of type `T`, however deep.
    #[must_use]
    pub fn cause<T: std::error::Error + 'static>(&self) -> Option<&T> {
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            cause = error.source();
        }
        None
    }

    /// What to do about it; of the error itself, then of its causes.
    #[must_use]
    pub fn hints(&self) -> Vec<&str> {
        let own = self.hints.iter().map(String::as_str);
        let cause = self.source.as_ref().and_then(|source| source.downcast_ref::<Error>());
        own.chain(cause.into_iter().flat_map(Error::hints)).collect()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)?;
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        self.hints.iter().try_for_each(|hint| write!(f, " [hint: {hint}]"))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
