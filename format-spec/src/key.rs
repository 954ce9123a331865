//! What a key object holds: the plain text of an age file, or the object itself where the
//! repository is not encrypted.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `PGKKEY1\n` |
//! | 8 | 1 | purpose: 1 data key, 2 repository secrets |
//! | 9 | 7 | zero |
//! | 16 | 16 | repository id |
//! | 32 | 16 | key id |
//! | 48 | 32 | data key; naming key |
//! | 80 | 32 | only repository secrets: cut key |

use crate::FormatError;
use crate::id::{KeyId, RepositoryId};
use crate::reader::Reader;

const MAGIC: &[u8; 8] = b"PGKKEY1\n";
const PURPOSE_DATA: u8 = 1;
const PURPOSE_SECRETS: u8 = 2;

/// Keys, as a key object holds them. They do not print.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    /// Seals the frames of one run.
    Data([u8; 32]),
    /// What all who write to or read a repository share.
    Secrets {
        /// Keys the BLAKE3 that names chunks.
        naming: [u8; 32],
        /// Keys the hash that decides where rows are cut.
        cut: [u8; 32],
    },
}

impl std::fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Data(_) => "KeyMaterial::Data(…)",
            Self::Secrets { .. } => "KeyMaterial::Secrets(…)",
        })
    }
}

/// Writes the content of a key object.
#[must_use]
pub fn encode(repository: RepositoryId, id: KeyId, material: &KeyMaterial) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    let purpose = match material {
        KeyMaterial::Data(_) => PURPOSE_DATA,
        KeyMaterial::Secrets { .. } => PURPOSE_SECRETS,
    };
    bytes.extend_from_slice(&[purpose, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&repository.0);
    bytes.extend_from_slice(&id.0);
    match material {
        KeyMaterial::Data(key) => bytes.extend_from_slice(key),
        KeyMaterial::Secrets { naming, cut } => {
            bytes.extend_from_slice(naming);
            bytes.extend_from_slice(cut);
        }
    }
    bytes
}

/// Reads the content of a key object and checks that it is the key `id` of `repository`.
///
/// # Errors
/// [`FormatError`] when it breaks a rule or is another key.
pub fn decode(
    bytes: &[u8],
    repository: RepositoryId,
    id: KeyId,
) -> Result<KeyMaterial, FormatError> {
    let mut reader = Reader::new("key object", bytes);
    reader.magic(MAGIC)?;
    let purpose = reader.u8()?;
    reader.reserved(7)?;
    if RepositoryId(reader.array()?) != repository || KeyId(reader.array()?) != id {
        return Err(FormatError::invalid("key object", "it is of another repository or name"));
    }
    let material = match purpose {
        PURPOSE_DATA => KeyMaterial::Data(reader.array()?),
        PURPOSE_SECRETS => KeyMaterial::Secrets { naming: reader.array()?, cut: reader.array()? },
        _ => return Err(FormatError::invalid("key object", format!("purpose {purpose}"))),
    };
    reader.finish()?;
    Ok(material)
}
