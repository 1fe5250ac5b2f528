#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| musicrl_fuzz::checks::zoo(bytes));
