//! What both programs do first: a tokenizer file and the lines of a text file.

use sro_screener::encoder::{Encoder, Settings};
use sro_screener::tokenizer::Tokenizer;

/// The encoder of the first argument, and the lines of the second one.
///
/// # Panics
/// Where a file cannot be read: there is nothing to measure.
pub fn load(max_length: Option<usize>) -> (Encoder, Vec<String>) {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, tokenizer, texts, ..] = arguments.as_slice() else { panic!("TOKENIZER TEXTS") };
    let read = |path: &String| std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let tokenizer = Tokenizer::from_json(&read(tokenizer)).expect("a tokenizer");
    let settings = Settings { max_length, truncation_side: None, pad_token_id: Some(0) };
    let encoder = Encoder::new(tokenizer, settings).expect("an encoder");
    (encoder, read(texts).lines().map(str::to_owned).collect())
}
