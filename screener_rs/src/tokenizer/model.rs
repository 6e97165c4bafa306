//! The three kinds of model behind one call.

use std::borrow::Cow;

use super::bpe::{Bpe, mark_after_another};
use super::bytes::byte_of;
use super::json::Field;
use super::key::{Key, MARK, WholeWords, WordCache};
use super::merge::MergeScratch;
use super::trie::MOST_KEYS;
use super::unigram::{Best, Unigram};
use super::vocabulary::Vocabulary;
use super::wordpiece::{WordPiece, unknown_model};
use crate::error::{Error, Result};

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
    marked: String,
}

/// A word of printable ASCII, before which a `▁` is to be thought, and which the table of whole words does not know.
pub(crate) struct MarkedWord<'a> {
    pub text: &'a str,
    /// Its key, with the `▁`, if it is short enough.
    pub key: Option<Key>,
    /// How many letters and digits it begins with.
    pub letters: usize,
    /// The key of these, with the `▁`.
    pub first: Option<Key>,
}

impl ModelScratch {
    pub fn new() -> Self {
        Self {
            cache: WordCache::new(),
            merges: MergeScratch::default(),
            best: Vec::new(),
            marked: String::new(),
        }
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
        if vocabulary.len() > MOST_KEYS {
            let rule = format!("entries are more than {MOST_KEYS}");
            return Err(Error::invalid(field.required("vocab")?.path, vocabulary.len(), rule));
        }
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
        let key = Key::of(word.as_bytes());
        match key.and_then(|key| self.whole.get(key)) {
            Some(id) => out.push(id),
            None => remembered(key, scratch, out, |scratch, out| self.compute(word, scratch, out)),
        }
    }

    /// The same for a word without `▁` inside, which the table of whole words does not know.
    pub fn tokenize_unlisted(&self, word: &str, scratch: &mut ModelScratch, out: &mut Vec<u32>) {
        let key = Key::of(word.as_bytes());
        remembered(key, scratch, out, |scratch, out| self.compute(word, scratch, out));
    }

    /// The same for a word with a `▁` before it.
    pub fn tokenize_marked(&self, word: &MarkedWord<'_>, scratch: &mut ModelScratch, out: &mut Vec<u32>) {
        if let Kind::Unigram(unigram) = &self.kind
            && let Some(rest) = unigram.after_border(word.text, word.letters)
            && let Some(first) = word.first.and_then(|key| self.whole.get(key))
            && unigram.is_known(first)
        {
            out.push(first);
            return unigram.tokenize_after(first, rest, &mut scratch.best, out);
        }
        remembered(word.key, scratch, out, |scratch, out| {
            let mut marked = std::mem::take(&mut scratch.marked);
            marked.clear();
            marked.push_str(MARK);
            marked.push_str(word.text);
            self.compute(&marked, scratch, out);
            scratch.marked = marked;
        });
    }

    fn compute(&self, word: &str, scratch: &mut ModelScratch, out: &mut Vec<u32>) {
        match &self.kind {
            Kind::WordPiece(model) => model.tokenize(word, out),
            Kind::Bpe(model) => model.tokenize(word, &mut scratch.merges, out),
            Kind::Unigram(model) => model.tokenize(word, &mut scratch.best, out),
        }
    }
}

/// Appends what is remembered of a word, or what is computed now, to be remembered if the word has a key.
fn remembered(
    key: Option<Key>,
    scratch: &mut ModelScratch,
    out: &mut Vec<u32>,
    compute: impl FnOnce(&mut ModelScratch, &mut Vec<u32>),
) {
    if key.is_some_and(|key| scratch.cache.append(key, out)) {
        return;
    }
    let before = out.len();
    compute(scratch, out);
    if let Some(key) = key {
        scratch.cache.remember(key, &out[before..]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn unigram(scores: &[f64]) -> Model {
        // Sums of these tie and round in many ways. `a'` is one piece: no border lies before an apostrophe.
        let pieces =
            ["<unk>", "▁", "▁a", "▁ab", "▁b", "a", "b", "ab", "ba", ",", ",,", ",a", ".", "a'", "'", "▁aba"];
        let vocab: Vec<_> = pieces.iter().zip(scores.iter().cycle()).collect();
        let file = json!({"type": "Unigram", "unk_id": 0, "vocab": vocab});
        Model::read(&Field::root(&file), false).unwrap().0
    }

    fn marked(text: &str) -> MarkedWord<'_> {
        let key = |part: &str| Key::of(part.as_bytes()).map(Key::marked);
        let letters = text.bytes().take_while(u8::is_ascii_alphanumeric).count();
        MarkedWord { text, key: key(text), letters, first: key(&text[..letters]) }
    }

    #[test]
    fn a_mark_within_a_piece_is_no_border() {
        let Kind::Unigram(model) = unigram(&[-1.0]).kind else { panic!("another kind") };
        assert_eq!(model.after_border("ab,.", 2), Some(",."));
        assert_eq!(model.after_border("a'b.", 1), None);
        assert_eq!(model.after_border(",,", 0), None);
        assert_eq!(model.after_border("ab", 2), None);
    }

    proptest! {
        #[test]
        fn a_word_cut_at_its_border_has_the_ids_of_the_whole(
            scores in proptest::collection::vec(prop_oneof![Just(-0.1), Just(-0.2), Just(-0.3), Just(-1.7)], 16),
            word in "[ab,.'!]{1,12}",
        ) {
            let model = unigram(&scores);
            let mut scratch = ModelScratch::new();
            let (mut cut, mut whole) = (Vec::new(), Vec::new());
            model.tokenize_marked(&marked(&word), &mut scratch, &mut cut);
            model.compute(&format!("▁{word}"), &mut scratch, &mut whole);
            prop_assert_eq!(cut, whole);
        }
    }
}
