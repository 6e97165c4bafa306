//! Python's text functions, as a bag of words needs them: `str.lower`, accent stripping, `\w`.

use super::in_ranges;
use super::python::{CASE_IGNORABLE, CASED, LOWER, LOWER_LONG, STRIPPED, WORD};

const CAPITAL_SIGMA: char = '\u{3a3}';

/// `\w` of Python's `re`.
pub(crate) fn is_word(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() || c == '_' } else { in_ranges(WORD, u32::from(c)) }
}

/// What happens to a text before it is cut into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preprocessing {
    /// Python's `str.lower` first.
    pub lowercase: bool,
    /// Then NFKD without combining marks.
    pub strip_accents: bool,
}

/// Answers about the characters of the basic plane without a search, for a text that is mostly ASCII but for its quotes.
#[derive(Debug)]
pub(crate) struct Characters {
    how: Preprocessing,
    changed: Vec<u64>,
    word: Vec<u64>,
}

/// Code points of the basic plane.
const BASIC: usize = 0x10000;

fn bit_of(bits: &[u64], point: u32) -> Option<bool> {
    bits.get(point as usize / 64).map(|word| word >> (point % 64) & 1 == 1)
}

impl Characters {
    /// For texts that are preprocessed so.
    pub fn new(how: Preprocessing) -> Self {
        let bits = |holds: &dyn Fn(char) -> bool| {
            let word = |start: u32| {
                let bit = |at: u32| char::from_u32(start + at).is_some_and(holds);
                (0..64).fold(0, |word, at| word | u64::from(bit(at)) << at)
            };
            (0..BASIC as u32).step_by(64).map(word).collect()
        };
        let this = Self { how, changed: Vec::new(), word: Vec::new() };
        let is_changed = |c: char| {
            let mut out = String::new();
            this.push_changed("", 0, c, &mut out);
            c == CAPITAL_SIGMA || !out.chars().eq([c])
        };
        Self { how, changed: bits(&is_changed), word: bits(&is_word) }
    }

    /// Whether ASCII letters become small ones.
    pub fn lowers(&self) -> bool {
        self.how.lowercase
    }

    /// `\w` of Python's `re`.
    pub fn is_word(&self, c: char) -> bool {
        bit_of(&self.word, u32::from(c)).unwrap_or_else(|| is_word(c))
    }

    /// Appends the text in lower case and without accents, whichever is asked for.
    pub fn push(&self, text: &str, out: &mut String) {
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let ascii = rest.bytes().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
            let (run, rest) = rest.split_at(ascii);
            let start = out.len();
            out.push_str(run);
            if let Some(run) = out.get_mut(start..).filter(|_| self.how.lowercase) {
                run.make_ascii_lowercase();
            }
            at += ascii;
            let Some(c) = rest.chars().next() else { break };
            match bit_of(&self.changed, u32::from(c)) {
                Some(false) => out.push(c),
                _ => self.push_changed(text, at, c, out),
            }
            at += c.len_utf8();
        }
    }

    fn push_changed(&self, text: &str, at: usize, c: char, out: &mut String) {
        let mut push = |c: char| if self.how.strip_accents { push_stripped(c, out) } else { out.push(c) };
        if !self.how.lowercase {
            return push(c);
        }
        let point = u32::from(c);
        if c == CAPITAL_SIGMA {
            push(if is_final_sigma(text, at) { '\u{3c2}' } else { '\u{3c3}' });
        } else if let Ok(found) = LOWER.binary_search_by_key(&point, |&(from, _)| from) {
            push(char::from_u32(LOWER[found].1).unwrap_or(c));
        } else if let Ok(found) = LOWER_LONG.binary_search_by_key(&point, |&(from, _)| from) {
            LOWER_LONG[found].1.chars().for_each(push);
        } else {
            push(c);
        }
    }
}

/// After a cased letter and before none, case-ignorable characters between them skipped.
fn is_final_sigma(text: &str, at: usize) -> bool {
    let ignorable = |c: &char| in_ranges(CASE_IGNORABLE, u32::from(*c));
    let cased = |c: char| in_ranges(CASED, u32::from(c));
    let (before, after) = text.split_at_checked(at).unwrap_or_default();
    let before = before.chars().rev().find(|c| !ignorable(c));
    let after = after.chars().skip(1).find(|c| !ignorable(c));
    before.is_some_and(cased) && !after.is_some_and(cased)
}

/// Appends a character decomposed (NFKD), its combining marks dropped.
fn push_stripped(c: char, out: &mut String) {
    if c.is_ascii() {
        out.push(c);
    } else if ('\u{ac00}'..='\u{d7a3}').contains(&c) {
        push_hangul(u32::from(c), out);
    } else if let Ok(found) = STRIPPED.binary_search_by_key(&u32::from(c), |&(from, _)| from) {
        out.push_str(STRIPPED[found].1);
    } else {
        out.push(c);
    }
}

/// The two or three jamo of a Hangul syllable (Unicode, section 3.12).
fn push_hangul(point: u32, out: &mut String) {
    let index = point - 0xAC00;
    let jamo = [0x1100 + index / 588, 0x1161 + index % 588 / 28, 0x11A7 + index % 28];
    let count = if index.is_multiple_of(28) { 2 } else { 3 };
    out.extend(jamo.iter().take(count).filter_map(|&point| char::from_u32(point)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str, lowercase: bool, strip_accents: bool) -> String {
        let mut out = String::new();
        Characters::new(Preprocessing { lowercase, strip_accents }).push(text, &mut out);
        out
    }

    fn lower(text: &str) -> String {
        changed(text, true, false)
    }

    #[test]
    fn a_sigma_is_final_only_at_the_end_of_a_word() {
        assert_eq!(lower("ΟΔΟΣ ΣΑΣ"), "οδος σας");
        assert_eq!(lower("Σ ΑΣ. ΑΣ'Α"), "σ ας. ασ'α");
    }

    #[test]
    fn a_dotted_capital_i_becomes_two_characters() {
        assert_eq!(lower("İ"), "i\u{307}");
        assert_eq!(changed("İI", true, true), "ii");
    }

    #[test]
    fn stripping_decomposes_and_drops_marks() {
        assert_eq!(changed("é ﬁ 한 Å", false, true), "e fi \u{1112}\u{1161}\u{11ab} A");
    }

    #[test]
    fn what_needs_no_change_is_kept() {
        assert_eq!(changed("It’s “日本” 𝐀 😀", true, false), "it’s “日本” 𝐀 😀");
        assert_eq!(changed("ÉTÉ İΣ", false, false), "ÉTÉ İΣ");
    }

    #[test]
    fn word_characters_are_those_of_the_table() {
        let characters = Characters::new(Preprocessing { lowercase: true, strip_accents: true });
        for c in ('\0'..=char::MAX).step_by(7) {
            assert_eq!(characters.is_word(c), is_word(c), "{c:?}");
        }
    }
}
