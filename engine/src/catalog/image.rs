//! Catalog images: the answers to all catalog queries in one snapshot, from which the same
//! catalog can be read later. Not in them is what changes without DDL: values of sequences,
//! large objects, sizes, optimizer statistics.

use super::source::{Recorder, Replay, Source};
use super::{Catalog, Selection, read_from};
use crate::postgres::Session;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::catalog_image::{Answer, CatalogImage};

pub use super::source::SequenceStates;

/// Reads an image of everything.
///
/// The caller has opened a transaction of which this sees one snapshot, with the settings of a
/// backup's session (see [`Snapshot`](crate::postgres::Snapshot)).
///
/// # Errors
/// Whatever the server reports.
pub async fn read_image(session: &Session) -> Result<CatalogImage> {
    let rows = session.query("SELECT pg_catalog.pg_current_snapshot() AS xids").await?;
    let row = rows.first().ok_or_else(|| {
        Error::new(ErrorKind::Server, "server does not say which snapshot it reads")
    })?;
    let snapshot = row.text("xids")?.to_owned();
    let source = Source::Recorder(Recorder::new(session));
    // What is made of the answers does not matter: it is made again from the image.
    let _ = read_from(&source, &Selection::default()).await?;
    let answers = match source {
        Source::Recorder(recorder) => recorder.into_answers(),
        Source::Server(_) | Source::Image(_) => Vec::new(),
    };
    let mut image = CatalogImage { server_version: session.version(), snapshot, answers };
    for answer in &mut image.answers {
        arrange(answer)?;
    }
    Ok(image)
}

/// Reads the catalog that an image holds, as [`read`](super::read) does; `selection` may leave
/// out aspects, but names nothing. Sequences get the values that `sequences` has of them.
///
/// # Errors
/// [`ErrorKind::Damaged`] when the image lacks an answer; as for what the server answered,
/// as [`read`](super::read).
pub async fn read_from_image(
    image: &CatalogImage,
    selection: &Selection,
    sequences: SequenceStates,
) -> Result<Catalog> {
    let replay = Replay::new(image.server_version, &image.answers, sequences);
    read_from(&Source::Image(replay), selection).await
}

/// An object that rows belong to.
pub(in crate::catalog) type RowAddress = (String, u32);

/// Finds the object that a row of an answer belongs to.
pub(in crate::catalog) struct OwnerColumns<'a> {
    catalog: Option<&'a str>,
    catalog_at: Option<usize>,
    oid_at: usize,
}

impl<'a> OwnerColumns<'a> {
    /// Absent where the answer stands as a whole.
    pub(in crate::catalog) fn of(answer: &'a Answer) -> Result<Option<Self>> {
        let at = |name: &String| {
            answer.columns.iter().position(|column| column == name).ok_or_else(|| {
                Error::new(
                    ErrorKind::Damaged,
                    format!("catalog image has no column \"{name}\" in: {}", answer.sql),
                )
            })
        };
        let Some(oid) = &answer.owner.oid_column else { return Ok(None) };
        Ok(Some(Self {
            catalog: answer.owner.catalog.as_deref(),
            catalog_at: answer.owner.catalog_column.as_ref().map(at).transpose()?,
            oid_at: at(oid)?,
        }))
    }

    /// The object that a row belongs to.
    pub(in crate::catalog) fn address(&self, row: &[Option<String>]) -> Result<RowAddress> {
        let value = |at: usize| row.get(at).and_then(Option::as_deref);
        let catalog = self.catalog.or_else(|| self.catalog_at.and_then(value));
        let oid = value(self.oid_at).and_then(|oid| oid.parse().ok());
        match (catalog, oid) {
            (Some(catalog), Some(oid)) => Ok((catalog.to_owned(), oid)),
            _ => Err(Error::new(ErrorKind::Damaged, "catalog image has a row that is nobody's")),
        }
    }
}

/// Puts the rows of an answer in the order of the objects that they belong to.
pub(in crate::catalog) fn arrange(answer: &mut Answer) -> Result<()> {
    let rows = std::mem::take(&mut answer.rows);
    let Some(owner) = OwnerColumns::of(answer)? else {
        answer.rows = rows;
        return Ok(());
    };
    let mut keyed =
        rows.into_iter().map(|row| Ok((owner.address(&row)?, row))).collect::<Result<Vec<_>>>()?;
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    answer.rows = keyed.into_iter().map(|(_, row)| row).collect();
    Ok(())
}
