#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    vnet_engine::fuzzing::description(bytes);
});
