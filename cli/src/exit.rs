//! Exit codes: what a script learns from a run without reading a word. Listed for users in
//! docs/cli-contract.md.

use pgkeep_engine::ErrorKind;
use std::process::ExitCode;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All that was asked for was done.
    Done,
    /// It was not done.
    Failed,
    /// The request made no sense; nothing was begun.
    Usage,
    /// It was done, and there is something that the user should read.
    Warnings,
    /// There is no repository where one was named.
    NoRepository,
    /// The identity or writer credential is missing or does not fit.
    WrongKey,
    /// A signal stopped it.
    Interrupted,
}

impl Exit {
    /// The number that the process ends with. A code that a script does not know means
    /// failure.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Warnings => 3,
            Self::NoRepository => 10,
            Self::WrongKey => 12,
            Self::Interrupted => 130,
        }
    }

    /// The exit of a run that reported `warnings` warnings and no error.
    pub(crate) const fn done_with(warnings: usize) -> Self {
        if warnings == 0 { Self::Done } else { Self::Warnings }
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage => Self::Usage,
            ErrorKind::NoRepository => Self::NoRepository,
            ErrorKind::WrongKey => Self::WrongKey,
            ErrorKind::Interrupted => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// The name of a kind in JSON: stable, lower case, with underscores.
pub(crate) const fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Usage => "usage",
        ErrorKind::NoRepository => "no_repository",
        ErrorKind::UnsupportedFormat => "unsupported_format",
        ErrorKind::WrongKey => "wrong_key",
        ErrorKind::NotFound => "not_found",
        ErrorKind::AlreadyExists => "already_exists",
        ErrorKind::Damaged => "damaged",
        ErrorKind::Untrusted => "untrusted",
        ErrorKind::Store => "store",
        ErrorKind::StoreUnavailable => "store_unavailable",
        ErrorKind::StoreFull => "store_full",
        ErrorKind::Retained => "retained",
        ErrorKind::Connection => "connection",
        ErrorKind::Authentication => "authentication",
        ErrorKind::Server => "server",
        ErrorKind::Privilege => "privilege",
        ErrorKind::LockTimeout => "lock_timeout",
        ErrorKind::Changed => "changed",
        ErrorKind::RolledBack => "rolled_back",
        ErrorKind::UnsupportedServer => "unsupported_server",
        ErrorKind::Interrupted => "interrupted",
        ErrorKind::Internal => "internal",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_that_scripts_act_on_have_codes_of_their_own() {
        for (kind, code) in [
            (ErrorKind::Usage, 2),
            (ErrorKind::NoRepository, 10),
            (ErrorKind::WrongKey, 12),
            (ErrorKind::Interrupted, 130),
            (ErrorKind::Server, 1),
            (ErrorKind::Damaged, 1),
        ] {
            assert_eq!(Exit::from(kind).code(), code, "{kind:?}");
        }
    }

    #[test]
    fn warnings_alone_make_a_run_end_with_three() {
        assert_eq!(Exit::done_with(0).code(), 0);
        assert_eq!(Exit::done_with(2).code(), 3);
    }
}
