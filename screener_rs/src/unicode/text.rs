//! Python's text functions, as a bag of words needs them: `str.lower`, accent stripping, `\w`.

use super::in_ranges;
use super::python::{CASE_IGNORABLE, CASED, LOWER, LOWER_LONG, STRIPPED, WORD};

const CAPITAL_SIGMA: char = '\u{3a3}';

/// `\w` of Python's `re`.
pub(crate) fn is_word(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() || c == '_' } else { in_ranges(WORD, u32::from(c)) }
}

/// Appends `text.lower()` as Python computes it, final sigma included.
pub(crate) fn push_lower(text: &str, out: &mut String) {
    for (at, c) in text.char_indices() {
        if c.is_ascii() {
            out.push(c.to_ascii_lowercase());
        } else if c == CAPITAL_SIGMA {
            out.push(if is_final_sigma(text, at) { '\u{3c2}' } else { '\u{3c3}' });
        } else {
            push_lower_char(c, out);
        }
    }
}

fn push_lower_char(c: char, out: &mut String) {
    let point = u32::from(c);
    if let Ok(found) = LOWER.binary_search_by_key(&point, |&(from, _)| from) {
        out.push(char::from_u32(LOWER[found].1).unwrap_or(c));
    } else if let Ok(found) = LOWER_LONG.binary_search_by_key(&point, |&(from, _)| from) {
        out.push_str(LOWER_LONG[found].1);
    } else {
        out.push(c);
    }
}

/// After a cased letter and before none, case-ignorable characters between them skipped.
fn is_final_sigma(text: &str, at: usize) -> bool {
    let ignorable = |c: &char| in_ranges(CASE_IGNORABLE, u32::from(*c));
    let cased = |c: char| in_ranges(CASED, u32::from(c));
    let before = text[..at].chars().rev().find(|c| !ignorable(c));
    let after = text[at + CAPITAL_SIGMA.len_utf8()..].chars().find(|c| !ignorable(c));
    before.is_some_and(cased) && !after.is_some_and(cased)
}

/// Appends the text decomposed (NFKD), its combining marks dropped.
pub(crate) fn push_stripped(text: &str, out: &mut String) {
    for c in text.chars() {
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

    fn lower(text: &str) -> String {
        let mut out = String::new();
        push_lower(text, &mut out);
        out
    }

    #[test]
    fn a_sigma_is_final_only_at_the_end_of_a_word() {
        assert_eq!(lower("ΟΔΟΣ ΣΑΣ"), "οδος σας");
        assert_eq!(lower("Σ ΑΣ. ΑΣ'Α"), "σ ας. ασ'α");
    }

    #[test]
    fn a_dotted_capital_i_becomes_two_characters() {
        assert_eq!(lower("İ"), "i\u{307}");
    }

    #[test]
    fn stripping_decomposes_and_drops_marks() {
        let mut out = String::new();
        push_stripped("é ﬁ 한 Å", &mut out);
        assert_eq!(out, "e fi \u{1112}\u{1161}\u{11ab} A");
    }
}
