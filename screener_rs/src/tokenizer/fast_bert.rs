//! BERT's normaliser and pre-tokenizer in one pass over the bytes: ASCII words need no table and no allocation.
//!
//! Sound because both parts treat the text between ASCII spaces and ASCII punctuation on its own: these are no
//! combining marks, so normalising moves nothing across them, and each ends a word.

use super::bert_normalizer::BertNormalizer;
use super::model::{Model, ModelScratch};
use crate::unicode::bert;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Space,
    Punctuation,
    /// Not ASCII, or a control character that cleaning removes: the words around it may change.
    Slow,
}

const KINDS: [Kind; 256] = kinds();

const fn kinds() -> [Kind; 256] {
    let mut kinds = [Kind::Slow; 256];
    let mut byte = 0;
    while byte < 128 {
        let c = byte as u8;
        if c.is_ascii_alphanumeric() {
            kinds[byte] = Kind::Word;
        } else if c.is_ascii_punctuation() {
            kinds[byte] = Kind::Punctuation;
        } else if matches!(c, b' ' | b'\t' | b'\n' | b'\r') {
            kinds[byte] = Kind::Space;
        }
        byte += 1;
    }
    kinds
}

/// Appends the ids of a text until there are `enough`.
pub(crate) fn encode(
    text: &str,
    normalizer: &BertNormalizer,
    model: &Model,
    enough: usize,
    scratch: &mut ModelScratch,
    out: &mut Vec<u32>,
) {
    let bytes = text.as_bytes();
    let mut lower = String::new();
    let mut at = 0;
    while at < bytes.len() && out.len() < enough {
        let start = at;
        match KINDS[usize::from(bytes[at])] {
            Kind::Space => at += 1,
            Kind::Punctuation => {
                at += 1;
                model.tokenize(&text[start..at], scratch, out);
            }
            Kind::Word | Kind::Slow => {
                at += run(&bytes[at..], |kind| kind == Kind::Word);
                if at < bytes.len() && KINDS[usize::from(bytes[at])] == Kind::Slow {
                    at += run(&bytes[at..], |kind| matches!(kind, Kind::Word | Kind::Slow));
                    slow(&text[start..at], normalizer, model, scratch, out);
                } else if normalizer.lowercase && bytes[start..at].iter().any(u8::is_ascii_uppercase) {
                    lower.clear();
                    lower.push_str(&text[start..at]);
                    lower.make_ascii_lowercase();
                    model.tokenize(&lower, scratch, out);
                } else {
                    model.tokenize(&text[start..at], scratch, out);
                }
            }
        }
    }
}

fn run(bytes: &[u8], wanted: impl Fn(Kind) -> bool) -> usize {
    bytes.iter().take_while(|&&byte| wanted(KINDS[usize::from(byte)])).count()
}

fn slow(
    text: &str,
    normalizer: &BertNormalizer,
    model: &Model,
    scratch: &mut ModelScratch,
    out: &mut Vec<u32>,
) {
    let normal = normalizer.normalize(text);
    for part in normal.split(char::is_whitespace) {
        for word in part.split_inclusive(bert::is_punctuation) {
            let last = word.char_indices().next_back().filter(|&(_, c)| bert::is_punctuation(c));
            let (word, mark) = word.split_at(last.map_or(word.len(), |(at, _)| at));
            for piece in [word, mark].into_iter().filter(|piece| !piece.is_empty()) {
                model.tokenize(piece, scratch, out);
            }
        }
    }
}
