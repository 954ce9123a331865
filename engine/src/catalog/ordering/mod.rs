//! From drafts to ordered entries: edges of `pg_depend`, loops broken, sorted by kind and name
//! where nothing else decides, so that the same schema gives the same entries.

mod arrange;
mod dependency;
mod graph;
mod refresh;
mod repair;
mod sort;

pub(in crate::catalog) use arrange::arrange;
pub(in crate::catalog) use dependency::{DEPENDENCIES, read as dependencies};
