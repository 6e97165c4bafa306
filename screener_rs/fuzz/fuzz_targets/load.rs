//! A tokenizer file of any content gives an error or a tokenizer that encodes, in bounded time and memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sro_screener::encoder::{Encoder, Settings};
use sro_screener::parallel::Workers;
use sro_screener::tokenizer::Tokenizer;

const TEXTS: [&str; 4] = ["", "a b ab", "It's 12 o'clock,\r\n  é 語 \u{301}\0x", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ▁▁ <s>"];

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(tokenizer) = Tokenizer::from_json(text) else { return };
    let settings = Settings { max_length: None, truncation_side: None, pad_token_id: None };
    if let Ok(encoder) = Encoder::new(tokenizer, settings) {
        encoder.rows(&TEXTS, Workers::new(1)).expect("ids");
    }
});
