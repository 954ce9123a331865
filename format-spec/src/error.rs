//! What can be wrong with bytes that claim to be of this format.

/// Why bytes were refused. Offsets are in bytes from the start of what was decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes end before the value does.
    #[error("{what} is truncated: {needed} bytes needed, {found} found")]
    Truncated {
        /// The structure that was being read.
        what: &'static str,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// The first bytes are not this structure's magic.
    #[error("{what} does not begin with its magic bytes")]
    Magic {
        /// The structure that was being read.
        what: &'static str,
    },
    /// A version that this program does not know.
    #[error("{what} has format version {found}, this program reads up to {supported}")]
    Version {
        /// The structure that was being read.
        what: &'static str,
        /// The version in the bytes.
        found: u32,
        /// The newest version that is understood.
        supported: u32,
    },
    /// A feature that a reader must know to read on.
    #[error("{what} needs the feature \"{feature}\", which this program does not know")]
    Feature {
        /// The structure that was being read.
        what: &'static str,
        /// The feature's name.
        feature: String,
    },
    /// A CRC32 that does not fit the bytes it covers.
    #[error("{what} has checksum {found:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// The structure that was being read.
        what: &'static str,
        /// The stored CRC32.
        found: u32,
        /// The CRC32 of the bytes.
        computed: u32,
    },
    /// A length, count or offset beyond its limit.
    #[error("{what} is {found}, the limit is {limit}")]
    Limit {
        /// The field that was being read.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The largest value allowed.
        limit: u64,
    },
    /// A field whose value the specification does not allow.
    #[error("{what} is not valid: {reason}")]
    Invalid {
        /// The structure or field.
        what: &'static str,
        /// Which rule it breaks.
        reason: String,
    },
}

impl FormatError {
    pub(crate) fn invalid(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { what, reason: reason.into() }
    }
}
