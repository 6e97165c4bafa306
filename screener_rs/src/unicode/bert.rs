//! Character classes of BERT's normaliser and pre-tokenizer, from the crate that Hugging Face uses.

use std::sync::LazyLock;

use unicode_categories::UnicodeCategories;

const CONTROL: u8 = 1;
const PUNCTUATION: u8 = 2;
const NONSPACING: u8 = 4;
const BMP: u32 = 0x1_0000;

static FLAGS: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..BMP).map(|p| char::from_u32(p).map_or(0, flags)).collect());

fn flags(c: char) -> u8 {
    let control = !matches!(c, '\t' | '\n' | '\r') && c.is_other();
    let punctuation = c.is_ascii_punctuation() || c.is_punctuation();
    u8::from(control) * CONTROL
        + u8::from(punctuation) * PUNCTUATION
        + u8::from(c.is_mark_nonspacing()) * NONSPACING
}

fn has(c: char, flag: u8) -> bool {
    let point = c as usize;
    FLAGS.get(point).copied().unwrap_or_else(|| flags(c)) & flag != 0
}

/// Removed by `clean_text`.
pub(crate) fn is_removed(c: char) -> bool {
    c == '\0' || c == '\u{fffd}' || has(c, CONTROL)
}

/// A word of its own for the pre-tokenizer.
pub(crate) fn is_punctuation(c: char) -> bool {
    has(c, PUNCTUATION)
}

/// Removed by `strip_accents`.
pub(crate) fn is_nonspacing(c: char) -> bool {
    has(c, NONSPACING)
}

/// An ideograph, which becomes a word of its own; the blocks are those that the reference lists.
pub(crate) fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c),
        0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x2_0000..=0x2_A6DF | 0x2_A700..=0x2_B73F | 0x2_B740..=0x2_B81F
        | 0x2_B920..=0x2_CEAF | 0xF900..=0xFAFF | 0x2_F800..=0x2_FA1F)
}
