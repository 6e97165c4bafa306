//! WordPiece: the longest piece first, and one unknown token for a word that cannot be covered.

use serde_json::Value;

use super::json::Field;
use super::trie::Trie;
use super::vocabulary::{Vocabulary, read_vocabulary};
use crate::error::{Error, Result};

/// The model; starts of words and continuations have a trie each.
pub(crate) struct WordPiece {
    starts: Trie<u32>,
    continuations: Trie<u32>,
    unknown: u32,
    max_chars: usize,
}

impl WordPiece {
    pub fn read(model: &Field<'_>) -> Result<(Self, Vocabulary)> {
        let vocabulary = read_vocabulary(&model.required("vocab")?)?;
        let prefix = model.required("continuing_subword_prefix")?.string()?;
        let unknown_token = model.required("unk_token")?;
        let unknown =
            *vocabulary.get(unknown_token.string()?).ok_or_else(|| unknown_token.wrong("in model.vocab"))?;
        let continuations =
            vocabulary.iter().filter_map(|(token, &id)| Some((token.strip_prefix(prefix)?, id)));
        let this = Self {
            starts: Trie::build(vocabulary.iter().map(|(token, &id)| (token.as_bytes(), id))),
            continuations: Trie::build(continuations.map(|(token, id)| (token.as_bytes(), id))),
            unknown,
            max_chars: model.required("max_input_chars_per_word")?.size()?,
        };
        Ok((this, vocabulary))
    }

    /// Whether a model without `type` is a WordPiece: it has all four fields.
    pub fn fits(model: &Value) -> bool {
        ["unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"]
            .iter()
            .all(|key| model.get(key).is_some_and(|value| !value.is_null()))
    }

    pub fn tokenize(&self, word: &str, out: &mut Vec<u32>) {
        let before = out.len();
        if word.len() > self.max_chars && word.chars().count() > self.max_chars {
            return out.push(self.unknown);
        }
        let mut rest = word.as_bytes();
        let mut trie = &self.starts;
        while !rest.is_empty() {
            let Some((len, id)) = trie.longest_prefix(rest) else {
                out.truncate(before);
                return out.push(self.unknown);
            };
            out.push(id);
            rest = &rest[len..];
            trie = &self.continuations;
        }
    }
}

/// The error of a model that is none of the three.
pub(super) fn unknown_model(model: &Field<'_>) -> Error {
    let found = model
        .optional("type")
        .map_or_else(|| "no type, and no fields that tell it".to_owned(), |t| t.shown());
    Error::unsupported("model.type", found, "WordPiece, BPE, Unigram")
}
