//! See `pgkeep_fuzz::binary_rows`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::binary_rows(bytes));
