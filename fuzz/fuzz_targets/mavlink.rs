#![no_main]

#[path = "../src/mavlink.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
