//! See `pgkeep_fuzz::pgoutput`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::pgoutput(bytes));
