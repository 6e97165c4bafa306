//! The three kinds of model behind one call.

use super::bpe::Bpe;
use super::cache::WordCache;
use super::json::Field;
use super::merge::MergeScratch;
use super::unigram::{Best, Unigram};
use super::vocabulary::Vocabulary;
use super::wordpiece::{WordPiece, unknown_model};
use crate::error::Result;

/// Turns one word into ids.
pub(crate) enum Model {
    WordPiece(WordPiece),
    Bpe(Bpe),
    Unigram(Unigram),
}

/// What a thread keeps from word to word and from call to call.
pub(crate) struct ModelScratch {
    cache: WordCache,
    merges: MergeScratch,
    best: Vec<Best>,
}

impl ModelScratch {
    pub fn new() -> Self {
        Self { cache: WordCache::new(), merges: MergeScratch::default(), best: Vec::new() }
    }
}

impl Model {
    /// Reads the model; without `type` it is told by its fields, in the reference's order.
    pub fn read(field: &Field<'_>, byte_level: bool) -> Result<(Self, Vocabulary)> {
        let kind = match field.optional("type") {
            Some(kind) => kind.string()?,
            None => inferred_kind(field),
        };
        let (model, vocabulary) = match kind {
            "WordPiece" => {
                WordPiece::read(field).map(|(model, vocabulary)| (Self::WordPiece(model), vocabulary))
            }
            "BPE" => Bpe::read(field, byte_level).map(|(model, vocabulary)| (Self::Bpe(model), vocabulary)),
            "Unigram" => Unigram::read(field).map(|(model, vocabulary)| (Self::Unigram(model), vocabulary)),
            _ => Err(unknown_model(field)),
        }?;
        if byte_level && !matches!(model, Self::Bpe(_)) {
            return Err(field.required("type")?.unsupported("BPE where the pre-tokenizer is ByteLevel"));
        }
        Ok((model, vocabulary))
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::WordPiece(_) => "WordPiece",
            Self::Bpe(_) => "BPE",
            Self::Unigram(_) => "Unigram",
        }
    }

    /// Appends the ids of a word, which is not empty.
    pub fn tokenize(&self, word: &str, scratch: &mut ModelScratch, out: &mut Vec<u32>) {
        let Some(place) = WordCache::place(word.as_bytes()) else {
            return self.compute(word, scratch, out);
        };
        if !scratch.cache.append(&place, out) {
            let before = out.len();
            self.compute(word, scratch, out);
            scratch.cache.remember(&place, &out[before..]);
        }
    }

    fn compute(&self, word: &str, scratch: &mut ModelScratch, out: &mut Vec<u32>) {
        match self {
            Self::WordPiece(model) => model.tokenize(word, out),
            Self::Bpe(model) => model.tokenize(word, &mut scratch.merges, out),
            Self::Unigram(model) => model.tokenize(word, &mut scratch.best, out),
        }
    }
}

fn inferred_kind(model: &Field<'_>) -> &'static str {
    let vocab = model.optional("vocab");
    let is_object = vocab.as_ref().is_some_and(|vocab| vocab.value.is_object());
    if is_object && model.optional("merges").is_some() {
        "BPE"
    } else if is_object && WordPiece::fits(model.value) {
        "WordPiece"
    } else if vocab.is_some_and(|vocab| vocab.value.is_array()) {
        "Unigram"
    } else {
        ""
    }
}
