//! The three kinds of model behind one call.

use std::borrow::Cow;

use super::bpe::{Bpe, mark_after_another};
use super::bytes::byte_of;
use super::json::Field;
use super::key::{Key, WholeWords, WordCache};
use super::merge::MergeScratch;
use super::unigram::{Best, Unigram};
use super::vocabulary::Vocabulary;
use super::wordpiece::{WordPiece, unknown_model};
use crate::error::Result;

/// Turns one word into ids.
pub(crate) struct Model {
    kind: Kind,
    whole: WholeWords,
}

enum Kind {
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
        let name = match field.optional("type") {
            Some(kind) => kind.string()?,
            None => inferred_kind(field),
        };
        let (kind, vocabulary) = match name {
            "WordPiece" => {
                WordPiece::read(field).map(|(model, vocabulary)| (Kind::WordPiece(model), vocabulary))
            }
            "BPE" => Bpe::read(field, byte_level).map(|(model, vocabulary)| (Kind::Bpe(model), vocabulary)),
            "Unigram" => Unigram::read(field).map(|(model, vocabulary)| (Kind::Unigram(model), vocabulary)),
            _ => Err(unknown_model(field)),
        }?;
        if byte_level && !matches!(kind, Kind::Bpe(_)) {
            return Err(field.required("type")?.unsupported("BPE where the pre-tokenizer is ByteLevel"));
        }
        let mut this = Self { kind, whole: WholeWords::default() };
        this.whole = this.whole_words(&vocabulary, byte_level);
        Ok((this, vocabulary))
    }

    /// What the model makes one token of, found by asking it: not every entry of a vocabulary can be reached.
    fn whole_words(&self, vocabulary: &Vocabulary, byte_level: bool) -> WholeWords {
        let mut table = WholeWords::with_capacity(vocabulary.len());
        let (mut scratch, mut ids) = (ModelScratch::new(), Vec::new());
        // The lowest ids are the most frequent words as a rule, and the first on a line is found the fastest.
        let mut entries: Vec<_> = vocabulary.iter().collect();
        entries.sort_unstable_by_key(|&(_, id)| id);
        for (token, _) in entries {
            let Some(word) = as_word(token, byte_level) else { continue };
            let Some(key) = Key::of(word.as_bytes()) else { continue };
            ids.clear();
            self.compute(&word, &mut scratch, &mut ids);
            if let [id] = ids[..] {
                table.insert(key, id);
            }
        }
        table
    }

    pub fn kind(&self) -> &'static str {
        match self.kind {
            Kind::WordPiece(_) => "WordPiece",
            Kind::Bpe(_) => "BPE",
            Kind::Unigram(_) => "Unigram",
        }
    }

    /// Words that are one token.
    #[inline(always)]
    pub fn whole(&self) -> &WholeWords {
        &self.whole
    }

    /// Appends the ids of a word, which is not empty.
    pub fn tokenize(&self, word: &str, scratch: &mut ModelScratch, out: &mut Vec<u32>) {
        let mut rest = word;
        if matches!(&self.kind, Kind::Bpe(bpe) if bpe.ends_before_marks) {
            while let Some(border) = mark_after_another(rest) {
                self.tokenize_one(&rest[..border], scratch, out);
                rest = &rest[border..];
            }
        }
        self.tokenize_one(rest, scratch, out);
    }

    fn tokenize_one(&self, word: &str, scratch: &mut ModelScratch, out: &mut Vec<u32>) {
        match Key::of(word.as_bytes()) {
            None => self.compute(word, scratch, out),
            Some(key) => match self.whole.get(key) {
                Some(id) => out.push(id),
                None => self.tokenize_parts(key, word, scratch, out),
            },
        }
    }

    /// The same for a word without `▁` inside, which the table of whole words does not know.
    pub fn tokenize_unlisted(&self, word: &str, scratch: &mut ModelScratch, out: &mut Vec<u32>) {
        match Key::of(word.as_bytes()) {
            None => self.compute(word, scratch, out),
            Some(key) => self.tokenize_parts(key, word, scratch, out),
        }
    }

    fn tokenize_parts(&self, key: Key, word: &str, scratch: &mut ModelScratch, out: &mut Vec<u32>) {
        if !scratch.cache.append(key, out) {
            let before = out.len();
            self.compute(word, scratch, out);
            scratch.cache.remember(key, &out[before..]);
        }
    }

    fn compute(&self, word: &str, scratch: &mut ModelScratch, out: &mut Vec<u32>) {
        match &self.kind {
            Kind::WordPiece(model) => model.tokenize(word, out),
            Kind::Bpe(model) => model.tokenize(word, &mut scratch.merges, out),
            Kind::Unigram(model) => model.tokenize(word, &mut scratch.best, out),
        }
    }
}

/// The text of which an entry of the vocabulary is made; none for an entry that no text gives.
fn as_word(token: &str, byte_level: bool) -> Option<Cow<'_, str>> {
    if !byte_level {
        return Some(Cow::Borrowed(token)).filter(|token| !token.is_empty());
    }
    let bytes: Vec<u8> = token.chars().map(byte_of).collect::<Option<_>>()?;
    String::from_utf8(bytes).ok().filter(|word| !word.is_empty()).map(Cow::Owned)
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
