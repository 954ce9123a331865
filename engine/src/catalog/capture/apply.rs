//! Brings a catalog image up to date.

use super::{Change, fingerprint};
use crate::catalog::image::{OwnerColumns, RowAddress, arrange};
use crate::catalog::ordering::DEPENDENCIES;
use crate::{Error, ErrorKind, Result};
use pgkeep_format::catalog_image::CatalogImage;
use std::collections::{HashMap, HashSet};

/// Makes `image` what it was read as after the transaction that made `change`. Changes are
/// applied in the order of their commits; see [`Change::knows_of`].
///
/// # Errors
/// [`ErrorKind::UnsupportedFormat`] when the change answers other queries than the image;
/// [`ErrorKind::Damaged`] when rows do not fit.
pub fn apply(image: &mut CatalogImage, change: &Change) -> Result<()> {
    if fingerprint(image) != change.queries {
        return Err(Error::new(
            ErrorKind::UnsupportedFormat,
            "definitions were captured by another version of pgkeep than read them",
        )
        .hint("Run pgkeep setup again, and take a backup."));
    }
    let gone = if change.spreads { gone(image, change)? } else { HashSet::new() };
    for (number, answer) in image.answers.iter_mut().enumerate() {
        let mut rows = change.answers.get(&number).cloned().unwrap_or_default();
        if rows.iter().any(|row| row.len() != answer.columns.len()) {
            return Err(Error::new(
                ErrorKind::Damaged,
                "captured change has a row that does not fit its query",
            ));
        }
        let Some(owner) = OwnerColumns::of(answer)? else {
            if change.whole.contains(&number) {
                answer.rows = rows;
            }
            continue;
        };
        let touches = |row: &Vec<Option<String>>| {
            let address = owner.address(row)?;
            Ok(is_touched(change, &address) || gone.contains(&address))
        };
        let mut kept = Vec::with_capacity(answer.rows.len() + rows.len());
        let mut replaces = false;
        for row in &answer.rows {
            match touches(row)? {
                true => replaces = true,
                false => kept.push(row.clone()),
            }
        }
        if replaces || !rows.is_empty() {
            kept.append(&mut rows);
            answer.rows = kept;
            arrange(answer)?;
        }
    }
    Ok(())
}

fn is_touched(change: &Change, (catalog, oid): &RowAddress) -> bool {
    change.touched.get(catalog).is_some_and(|oids| oids.contains(oid))
}

/// Parts of what was touched that are there no more. The server tells of what it drops because
/// it was asked to, but not of what it makes anew by itself: an index when a column's type
/// changes, the sequence of a column that is no identity any more. All parts that there still
/// are have been touched with their whole.
fn gone(image: &CatalogImage, change: &Change) -> Result<HashSet<RowAddress>> {
    let Some(answer) = image.answers.iter().find(|answer| answer.sql == DEPENDENCIES) else {
        return Ok(HashSet::new());
    };
    let column = |name: &str| answer.columns.iter().position(|column| column == name);
    let columns = [column("refcatalog"), column("refobjid"), column("deptype")];
    let ([Some(catalog), Some(oid), Some(kind)], Some(owner)) =
        (columns, OwnerColumns::of(answer)?)
    else {
        return Ok(HashSet::new());
    };
    let mut parts: HashMap<RowAddress, Vec<RowAddress>> = HashMap::new();
    let mut open = Vec::new();
    for row in &answer.rows {
        let value = |at: usize| row.get(at).and_then(Option::as_deref);
        // Automatic and internal dependencies are those of parts.
        if let (Some("a" | "i"), Some(catalog), Some(oid)) =
            (value(kind), value(catalog), value(oid).and_then(|oid| oid.parse().ok()))
        {
            let whole = (catalog.to_owned(), oid);
            let part = owner.address(row)?;
            if is_touched(change, &part) {
                continue;
            }
            if is_touched(change, &whole) && !change.beside.contains(&whole) {
                open.push(part);
            } else {
                parts.entry(whole).or_default().push(part);
            }
        }
    }
    let mut gone = HashSet::new();
    while let Some(part) = open.pop() {
        if let Some(parts) = parts.remove(&part) {
            open.extend(parts);
        }
        gone.insert(part);
    }
    Ok(gone)
}
