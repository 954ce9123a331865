//! The largest sizes and counts that the format allows; writers keep them, readers check
//! them before they allocate anything.

/// Bytes of plain data in one frame.
pub const PLAIN_LEN_MAX: u64 = 16 << 20;
/// Bytes that sealing may add to the plain data: inner header, tag, incompressible data.
pub const SEAL_OVERHEAD_MAX: u64 = 64 << 10;
/// Bytes of one frame's payload as stored.
pub const STORED_LEN_MAX: u64 = PLAIN_LEN_MAX + SEAL_OVERHEAD_MAX;
/// Frames in one pack.
pub const PACK_FRAMES_MAX: u64 = 1 << 18;
/// Bytes of one pack.
pub const PACK_LEN_MAX: u64 = 1 << 30;
/// Bytes of the body of a signed object: config, manifest, index.
pub const BODY_LEN_MAX: u64 = 512 << 20;
/// Bytes of a manifest's clear part.
pub const CLEAR_LEN_MAX: u64 = 256 << 20;
/// Bytes of one wrapped key object.
pub const KEY_OBJECT_LEN_MAX: u64 = 1 << 20;
/// Chunks that a stream names in the manifest itself; a longer stream uses lists.
pub const INLINE_CHUNKS_MAX: usize = 16;
/// Recipients, writers and former writers in a config.
pub const PARTIES_MAX: usize = 1024;
/// Vouchers in a config, of all former writers together.
pub const VOUCHERS_MAX: usize = 64;
/// Digests in one voucher.
pub const VOUCHER_DIGESTS_MAX: usize = 1 << 20;
/// Bytes of one catalog image.
pub const CATALOG_IMAGE_LEN_MAX: usize = 512 << 20;
/// Bytes of one object name.
pub const NAME_LEN_MAX: usize = 255;
/// Objects in one single file.
pub const FILE_OBJECTS_MAX: usize = 1 << 20;
/// Arrays and maps inside one another in a structured value.
pub const NESTING_MAX: usize = 16;
/// Columns of a table, as PostgreSQL has it.
pub const COLUMNS_MAX: usize = 1664;
