#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lvsd::internals::fuzz::bfd_packet(bytes));
