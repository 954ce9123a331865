//! The identifiers of the format: fixed bytes that print as lower-case hexadecimal.

use crate::FormatError;
use std::fmt;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Reads the hexadecimal form that `Display` writes.
            ///
            /// # Errors
            /// [`FormatError::Invalid`] when `text` is not exactly that form.
            pub fn parse(text: &str) -> Result<Self, FormatError> {
                parse_hex(text).map(Self).ok_or_else(|| {
                    FormatError::invalid($what, format!("not {} hexadecimal digits", 2 * $len))
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                let bytes = d.bytes()?;
                bytes.try_into().map(Self).map_err(|_| {
                    minicbor::decode::Error::message(concat!($what, " has the wrong length"))
                })
            }
        }
    };
}

identifier!(
    /// Names a repository; random, made once by `init`.
    RepositoryId, 16, "repository id"
);
identifier!(
    /// Names a pack; random.
    PackId, 16, "pack id"
);
identifier!(
    /// Names a backup; random. People see and type its first digits.
    BackupId, 16, "backup id"
);
identifier!(
    /// Names an object that nothing else refers to, such as an index; random.
    ObjectId, 16, "object id"
);
identifier!(
    /// Names a data key; random. All zero stands for "no key".
    KeyId, 16, "key id"
);
identifier!(
    /// Tells which backups are of one database: a keyed hash of the server's system
    /// identifier and the database's name.
    SeriesId, 16, "series id"
);
identifier!(
    /// Names a chunk: keyed BLAKE3 of its type, flags and plain bytes.
    ChunkId, 32, "chunk id"
);
identifier!(
    /// Tells one content of a signed object from every other: the first bytes of the SHA-256
    /// of its header and body.
    ObjectDigest, 16, "object digest"
);
identifier!(
    /// An Ed25519 public key: the repository's owner, or one of its writers.
    VerifyKey, 32, "verify key"
);

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(ascii: u8) -> Option<u8> {
    match ascii {
        b'0'..=b'9' => Some(ascii - b'0'),
        b'a'..=b'f' => Some(ascii - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_reads_back_what_it_prints() {
        let id = PackId(*b"\x00\x11\x22\x33\xde\xad\xbe\xef0123456\xff");
        assert_eq!(PackId::parse(&id.to_string()), Ok(id));
    }

    #[test]
    fn an_identifier_refuses_upper_case_and_wrong_lengths() {
        for text in ["", "00", &"A".repeat(32), &"0".repeat(33), &"é".repeat(16)] {
            assert!(PackId::parse(text).is_err(), "{text}");
        }
    }
}
