//! See `pgkeep_fuzz::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::manifest(bytes));
