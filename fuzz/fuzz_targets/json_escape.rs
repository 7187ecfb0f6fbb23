//! Writes the input as a JSON string with every implementation that this processor supports.

#![no_main]

use libfuzzer_sys::fuzz_target;
use source_postgres::json::Escaper;

fuzz_target!(|data: &[u8]| {
    let mut expected = None;
    // The scalar implementation comes first, so the others are compared with it.
    for escaper in Escaper::all() {
        let mut out = Vec::new();
        escaper.write(data, &mut out);
        let written = String::from_utf8(out).unwrap();
        assert_eq!(
            *expected.get_or_insert(written.clone()),
            written,
            "{}",
            escaper.name()
        );
    }
});
