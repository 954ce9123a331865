//! The bytes of a pgkeep repository: values to bytes and back, and nothing else.
//!
//! This crate does no I/O, keeps no state and knows no key: it lays values out as
//! `FORMAT.md` (beside this folder) says and reads them back, trusting no length, count or
//! offset that it finds. Compression, sealing and signing are the engine's (`seal`), which
//! works on the pieces named here.
//!
//! Reading order, outermost first:
//!
//! | module | what it lays out |
//! |---|---|
//! | [`name`] | where objects lie in a repository |
//! | [`object`] | the header that every object begins with, the tail of signed ones |
//! | [`frame`] | one sealed chunk with its header |
//! | [`pack`] | an object of many frames, with footer and trailer |
//! | [`index`] | the footers of many packs in one signed object |
//! | [`config`] | the repository's own settings, signed by its owner |
//! | [`voucher`] | what a writer that was revoked had signed before |
//! | [`key`] | what a wrapped key object holds |
//! | [`manifest`] | the object whose presence makes a backup exist |
//! | [`entry`] | one catalog object of a backup |
//! | [`catalog_image`] | the catalogs of one moment, as answers to catalog queries |
//! | [`columns`] | rows laid out column by column, before they are compressed |
//! | [`mod@tuple`] | rows of binary COPY, field by field |
//! | [`tuple_columns`] | those laid out column by column |
//! | [`stream`] | how a table's chunks are listed, and what a chunk of rows holds |
//! | [`left_out`] | which rows of a chunk a stream does without |
//! | [`rows`] | where the rows of a chunk begin and end |
//! | [`segment`] | a run of the change stream, in the order of commits |
//! | [`change`] | one change of one table's row |
//! | [`prune`] | that a writer is at work, and what a prune is about to remove |
//! | [`single_file`] | a whole repository with one backup in one file |

pub mod catalog_image;
pub mod cbor;
pub mod change;
pub mod columns;
pub mod config;
pub mod entry;
mod error;
pub mod frame;
pub mod id;
pub mod index;
pub mod key;
pub mod left_out;
pub mod limits;
pub mod manifest;
pub mod name;
pub mod object;
pub mod pack;
pub mod prune;
mod reader;
pub mod rows;
pub mod segment;
pub mod single_file;
pub mod stream;
pub mod tuple;
pub mod tuple_columns;
pub mod voucher;

pub use error::FormatError;
