#![no_main]

libfuzzer_sys::fuzz_target!(
    init: {
        // A panic inside a decoder of others is caught by our own and refuses the file; the fuzzer's hook would end
        // the run at the panic itself. Panics that nobody catches still end it.
        std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    },
    |bytes: &[u8]| musicrl_fuzz::checks::audio_file(bytes)
);
