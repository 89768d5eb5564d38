#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = vnet_engine::fuzzing::cache_entry(bytes);
});
