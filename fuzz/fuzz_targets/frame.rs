//! See `pgkeep_fuzz::frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::frame(bytes));
