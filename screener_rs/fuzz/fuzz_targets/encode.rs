//! Token ids against Hugging Face's, text by text.
//!
//! `SRO_FUZZ_TOKENIZERS` names a folder of tokenizer files; `fuzz/write_tokenizers.py` writes one for each kind. The first
//! byte of an input chooses the file, the second one the truncation, the rest is the text.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sro_screener::encoder::{Encoder, Settings};
use sro_screener::parallel::Workers;
use sro_screener::tokenizer::{Side, Tokenizer};
use tokenizers::{TruncationDirection, TruncationParams};

/// Most tokens of a row, and the side that is cut.
const CUTS: [Option<(usize, Side)>; 4] =
    [None, Some((6, Side::Right)), Some((6, Side::Left)), Some((40, Side::Right))];

struct Pair {
    path: PathBuf,
    ours: Encoder,
    theirs: tokenizers::Tokenizer,
}

static PAIRS: LazyLock<Vec<Vec<Pair>>> = LazyLock::new(|| {
    let folder = std::env::var("SRO_FUZZ_TOKENIZERS").expect("SRO_FUZZ_TOKENIZERS: names no folder");
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("a folder").map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "SRO_FUZZ_TOKENIZERS: holds no tokenizer file");
    files.iter().map(|path| CUTS.iter().map(|&cut| load(path, cut)).collect()).collect()
});

fn load(path: &PathBuf, cut: Option<(usize, Side)>) -> Pair {
    let text = std::fs::read_to_string(path).expect("a tokenizer file");
    let mut theirs: tokenizers::Tokenizer = text.parse().expect("a tokenizer for the reference");
    theirs.with_padding(None);
    let truncation = cut.map(|(max_length, side)| TruncationParams {
        max_length,
        direction: if side == Side::Left { TruncationDirection::Left } else { TruncationDirection::Right },
        ..TruncationParams::default()
    });
    theirs.with_truncation(truncation).expect("room for the special tokens");
    let settings = Settings {
        max_length: cut.map(|(max_length, _)| max_length),
        truncation_side: Some(cut.map_or(Side::Right, |(_, side)| side)),
        pad_token_id: None,
    };
    let ours = Encoder::new(Tokenizer::from_json(&text).expect("a tokenizer"), settings).expect("an encoder");
    Pair { path: path.clone(), ours, theirs }
}

fuzz_target!(|data: &[u8]| {
    let [file, cut, text @ ..] = data else { return };
    let pairs = &PAIRS[usize::from(*file) % PAIRS.len()];
    let pair = &pairs[usize::from(*cut) % CUTS.len()];
    let text = String::from_utf8_lossy(text);
    let theirs = pair.theirs.encode_fast(text.as_ref(), true).expect("ids of the reference");
    let expected: Vec<i32> = theirs.get_ids().iter().map(|&id| id as i32).collect();
    let found = pair.ours.rows(&[text.as_ref()], Workers::new(1)).expect("ids");
    assert_eq!(found.ids, expected, "{}: {text:?}", pair.path.display());
});
