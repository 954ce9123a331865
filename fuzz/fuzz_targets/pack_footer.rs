//! See `pgkeep_fuzz::pack_footer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::pack_footer(bytes));
