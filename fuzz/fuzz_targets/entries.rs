//! See `pgkeep_fuzz::entries`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::entries(bytes));
