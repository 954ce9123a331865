//! See `pgkeep_fuzz::changes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::changes(bytes));
