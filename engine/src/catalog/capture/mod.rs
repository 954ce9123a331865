//! Capture of DDL at commit: what is installed in a database so that each transaction which
//! changes definitions writes into the WAL what the catalog queries now return of the objects
//! concerned; reading those messages; and bringing a catalog image up to date with them.
//!
//! ```text
//! DDL -> event triggers note it (pgkeep.armed, pgkeep.touched)
//!     -> commit: deferred trigger -> messages `pgkeep.ddl`, as long as the transaction holds
//! messages -> ChangeReader -> Change -> apply to the image before -> the image after
//! ```
//!
//! Beside that, commands tell at once which columns a table has from there on, and bring tables
//! that they made into the publication.
//!
//! No SQL of the application is read. What a transaction touched is seen in the catalogs
//! themselves; a transaction that rolls back leaves nothing. Not captured is what fires no
//! event trigger: roles, databases, tablespaces, event triggers, `CLUSTER … USING`, and, until its
//! table is changed, that `REINDEX CONCURRENTLY` gave an index another OID.

mod apply;
mod change;
mod install;
mod record;
mod row_message;

pub use apply::apply;
pub use change::{Change, ChangeReader, Column, PREFIX};
pub use install::{MEMORY, Publishing, installation, removal};
pub use row_message::{Layout, RowMessage, TableColumn};

use pgkeep_format::catalog_image::CatalogImage;

/// Tells the queries of an image from those of another: a change is of one list of queries.
/// Guards against mistakes, not against attackers.
fn fingerprint(image: &CatalogImage) -> String {
    // FNV-1a, 64 bits.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for answer in &image.answers {
        for byte in answer.sql.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}
