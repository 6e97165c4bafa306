//! Byte pair encoding: adjacent symbols are merged, the lowest rank first and the leftmost of equals.

use super::bytes::byte_of;
use super::json::Field;
use super::key::MARK;
use super::merge::{MergeScratch, Merges};
use super::vocabulary::{Vocabulary, read_vocabulary};
use crate::error::Result;
use crate::hash::FastMap;

/// What becomes of a character that is not in the vocabulary.
#[derive(Clone, Copy)]
struct Unknown {
    id: u32,
    fused: bool,
}

/// The model.
pub(crate) struct Bpe {
    merges: Merges,
    symbols: Symbols,
    /// Whole words that are taken as they are (`ignore_merges`), as bytes.
    whole: FastMap<Box<[u8]>, u32>,
    /// Whether no merge reaches over the border between any other character and a `▁`.
    pub ends_before_marks: bool,
}

/// How a word becomes its first symbols.
enum Symbols {
    /// One for each byte; a byte without an id is left out, as the reference does.
    Bytes(Box<[Option<u32>; 256]>),
    /// One for each character.
    Chars { ids: FastMap<char, u32>, unknown: Option<Unknown>, fallback: Option<Box<[Option<u32>; 256]>> },
}

impl Bpe {
    /// Reads the model; `byte_level` says that the pre-tokenizer maps bytes to characters.
    pub fn read(model: &Field<'_>, byte_level: bool) -> Result<(Self, Vocabulary)> {
        refuse_what_is_not_reproduced(model)?;
        let vocabulary = read_vocabulary(&model.required("vocab")?)?;
        let merges = Merges::read(&model.required("merges")?, &vocabulary)?;
        let symbols =
            if byte_level { byte_symbols(model, &vocabulary)? } else { char_symbols(model, &vocabulary)? };
        let whole = if model.flag("ignore_merges", false)? {
            whole_words(&vocabulary, byte_level)
        } else {
            FastMap::default()
        };
        let ends_before_marks = !byte_level && whole.is_empty() && ends_before_marks(&vocabulary);
        Ok((Self { merges, symbols, whole, ends_before_marks }, vocabulary))
    }

    pub fn tokenize(&self, word: &str, scratch: &mut MergeScratch, out: &mut Vec<u32>) {
        if let Some(&id) = self.whole.get(word.as_bytes()) {
            return out.push(id);
        }
        let start = out.len();
        match &self.symbols {
            Symbols::Bytes(ids) => out.extend(word.bytes().filter_map(|byte| ids[usize::from(byte)])),
            Symbols::Chars { ids, unknown, fallback } => {
                push_chars(word, ids, *unknown, fallback.as_deref(), out);
            }
        }
        self.merges.apply(start, scratch, out);
    }
}

/// A null or an empty text changes nothing, so both are allowed.
fn refuse_what_is_not_reproduced(model: &Field<'_>) -> Result<()> {
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if let Some(field) = model.optional(key)
            && !field.string()?.is_empty()
        {
            return Err(field.unsupported("null or an empty text"));
        }
    }
    if let Some(field) = model.optional("dropout")
        && field.float()? != 0.0
    {
        return Err(field.unsupported("null or 0: a random result is no verdict"));
    }
    Ok(())
}

fn byte_symbols(model: &Field<'_>, vocabulary: &Vocabulary) -> Result<Symbols> {
    let mut ids = Box::new([None; 256]);
    for (token, &id) in vocabulary {
        let mut chars = token.chars();
        if let (Some(c), None) = (chars.next(), chars.next())
            && let Some(byte) = byte_of(c)
        {
            ids[usize::from(byte)] = Some(id);
        }
    }
    if let Some(unknown) = model.optional("unk_token").filter(|_| ids.contains(&None)) {
        return Err(unknown.unsupported("null, where a byte has no token"));
    }
    Ok(Symbols::Bytes(ids))
}

fn char_symbols(model: &Field<'_>, vocabulary: &Vocabulary) -> Result<Symbols> {
    let ids = vocabulary.iter().filter_map(|(token, &id)| {
        let mut chars = token.chars();
        chars.next().filter(|_| chars.next().is_none()).map(|c| (c, id))
    });
    let fused = model.flag("fuse_unk", false)?;
    let unknown = match model.optional("unk_token") {
        None => None,
        Some(token) => {
            let id = *vocabulary.get(token.string()?).ok_or_else(|| token.wrong("in model.vocab"))?;
            Some(Unknown { id, fused })
        }
    };
    let fallback = model.flag("byte_fallback", false)?.then(|| byte_tokens(vocabulary));
    Ok(Symbols::Chars { ids: ids.collect(), unknown, fallback })
}

/// Ids of the tokens `<0x00>` to `<0xFF>`.
pub(super) fn byte_tokens(vocabulary: &Vocabulary) -> Box<[Option<u32>; 256]> {
    let mut ids = Box::new([None; 256]);
    for (byte, id) in ids.iter_mut().enumerate() {
        *id = vocabulary.get(&format!("<0x{byte:02X}>")).copied();
    }
    ids
}

/// A `▁` that is known ends a run of unknown characters as well.
fn ends_before_marks(vocabulary: &Vocabulary) -> bool {
    let inside = |token: &str| mark_after_another(token).is_some();
    vocabulary.contains_key(MARK) && !vocabulary.keys().any(|token| inside(token))
}

/// Where the first `▁` stands that does not follow another one, the start aside.
pub(super) fn mark_after_another(text: &str) -> Option<usize> {
    text.match_indices(MARK).map(|(at, _)| at).find(|&at| at > 0 && !text[..at].ends_with(MARK))
}

fn whole_words(vocabulary: &Vocabulary, byte_level: bool) -> FastMap<Box<[u8]>, u32> {
    let as_bytes = |token: &str| -> Option<Box<[u8]>> {
        if byte_level { token.chars().map(byte_of).collect() } else { Some(token.as_bytes().into()) }
    };
    vocabulary.iter().filter_map(|(token, &id)| Some((as_bytes(token)?, id))).collect()
}

/// An unknown token is held back until the next known one; bytes of a fallback overtake it, as in the reference.
fn push_chars(
    word: &str,
    ids: &FastMap<char, u32>,
    unknown: Option<Unknown>,
    fallback: Option<&[Option<u32>; 256]>,
    out: &mut Vec<u32>,
) {
    let mut held = None;
    for c in word.chars() {
        if let Some(&id) = ids.get(&c) {
            out.extend(held.take());
            out.push(id);
        } else if !fallback.is_some_and(|table| push_bytes(c, table, out))
            && let Some(unknown) = unknown
        {
            if !unknown.fused {
                out.extend(held);
            }
            held = Some(unknown.id);
        }
    }
    out.extend(held);
}

/// Appends the byte tokens of a character, if there is one for each byte.
pub(super) fn push_bytes(c: char, table: &[Option<u32>; 256], out: &mut Vec<u32>) -> bool {
    let before = out.len();
    for &byte in c.encode_utf8(&mut [0; 4]).as_bytes() {
        let Some(id) = table[usize::from(byte)] else {
            out.truncate(before);
            return false;
        };
        out.push(id);
    }
    true
}
