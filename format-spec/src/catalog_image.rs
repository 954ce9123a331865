//! The catalogs of one moment as answers: each catalog query with the rows that the server
//! returned. Entries of any moment are made from them as from the server itself.
//!
//! Rows that speak of an object can be replaced when a transaction changed it; [`RowOwner`]
//! tells which they are.

use crate::{FormatError, cbor, limits};
use minicbor::{Decode, Encode};

/// What every catalog query returned in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CatalogImage {
    /// `server_version_num` of the server.
    #[n(1)]
    pub server_version: u32,
    /// `pg_current_snapshot()`: the transactions that the answers know of.
    #[n(2)]
    pub snapshot: String,
    /// The answers, in the order in which they were asked; no query twice.
    #[n(3)]
    pub answers: Vec<Answer>,
}

/// What one catalog query returned.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Answer {
    /// The query.
    #[n(1)]
    pub sql: String,
    /// To which object each row belongs.
    #[n(2)]
    pub owner: RowOwner,
    /// Names of the columns.
    #[n(3)]
    pub columns: Vec<String>,
    /// The rows, each with a value for each column, `null` for NULL. Those of one object stand
    /// together and in the order that the server gave them; objects are in order of catalog
    /// and OID.
    #[n(4)]
    pub rows: Vec<Vec<Option<String>>>,
}

/// To which object each row of an answer belongs: the one of this OID in this catalog.
/// Without an OID, the answer is replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct RowOwner {
    /// The catalog, where it is the same for all rows.
    #[n(1)]
    pub catalog: Option<String>,
    /// Else the column that names it.
    #[n(2)]
    pub catalog_column: Option<String>,
    /// The column that holds the OID.
    #[n(3)]
    pub oid_column: Option<String>,
}

impl CatalogImage {
    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when the bytes are no image, too many, or a row has not a value
    /// for each column.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        const WHAT: &str = "catalog image";
        if bytes.len() > limits::CATALOG_IMAGE_LEN_MAX {
            return Err(FormatError::invalid(WHAT, format!("it has {} bytes", bytes.len())));
        }
        let image: Self = cbor::decode(WHAT, bytes)?;
        for answer in &image.answers {
            if answer.rows.iter().any(|row| row.len() != answer.columns.len()) {
                return Err(FormatError::invalid(
                    WHAT,
                    "a row has not a value for each column".to_owned(),
                ));
            }
        }
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> CatalogImage {
        CatalogImage {
            server_version: 180_004,
            snapshot: "739:742:740".to_owned(),
            answers: vec![Answer {
                sql: "SELECT oid, relname FROM pg_class".to_owned(),
                owner: RowOwner {
                    catalog: Some("pg_class".to_owned()),
                    catalog_column: None,
                    oid_column: Some("oid".to_owned()),
                },
                columns: vec!["oid".to_owned(), "relname".to_owned()],
                rows: vec![vec![Some("16384".to_owned()), None]],
            }],
        }
    }

    #[test]
    fn an_image_comes_back() {
        assert_eq!(CatalogImage::decode(&image().encode()), Ok(image()));
    }

    #[test]
    fn rows_that_do_not_fit_their_columns_are_refused() {
        let mut image = image();
        image.answers[0].rows[0].pop();
        assert!(CatalogImage::decode(&image.encode()).is_err());
    }

    #[test]
    fn truncated_images_are_refused() {
        let bytes = image().encode();
        for len in 0..bytes.len() {
            assert!(CatalogImage::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
    }
}
