//! BERT's normaliser: clean, set ideographs apart, strip accents, lowercase character by character.

use unicode_normalization_alignments::UnicodeNormalization;

use super::json::Field;
use crate::error::Result;
use crate::unicode::bert::{is_ideograph, is_nonspacing, is_removed};

/// Its four settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BertNormalizer {
    pub clean_text: bool,
    pub handle_chinese_chars: bool,
    pub strip_accents: bool,
    pub lowercase: bool,
}

impl BertNormalizer {
    /// Reads the settings; `strip_accents` follows `lowercase` where it is null.
    pub fn read(field: &Field<'_>) -> Result<Self> {
        let lowercase = field.required("lowercase")?.boolean()?;
        Ok(Self {
            clean_text: field.required("clean_text")?.boolean()?,
            handle_chinese_chars: field.required("handle_chinese_chars")?.boolean()?,
            strip_accents: field.flag("strip_accents", lowercase)?,
            lowercase,
        })
    }

    pub fn normalize(&self, text: &str) -> String {
        let cleaned = self.clean(text);
        let mut out = String::with_capacity(cleaned.len());
        if self.strip_accents && !cleaned.is_ascii() {
            let bases = cleaned.nfd().map(|(c, _)| c).filter(|&c| !is_nonspacing(c));
            bases.for_each(|c| self.push_cased(c, &mut out));
        } else {
            cleaned.chars().for_each(|c| self.push_cased(c, &mut out));
        }
        out
    }

    fn clean(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            if self.clean_text && is_removed(c) {
                continue;
            }
            if self.handle_chinese_chars && is_ideograph(c) {
                out.extend([' ', c, ' ']);
            } else {
                out.push(if self.clean_text && c.is_whitespace() { ' ' } else { c });
            }
        }
        out
    }

    fn push_cased(&self, c: char, out: &mut String) {
        match (self.lowercase, c.is_ascii()) {
            (false, _) => out.push(c),
            (true, true) => out.push(c.to_ascii_lowercase()),
            (true, false) => out.extend(c.to_lowercase()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNCASED: BertNormalizer =
        BertNormalizer { clean_text: true, handle_chinese_chars: true, strip_accents: true, lowercase: true };

    #[test]
    fn it_cleans_spaces_strips_and_lowercases() {
        assert_eq!(UNCASED.normalize("A\u{7}B\u{a0}É語x\u{200b}ΣΑΣ"), "ab e 語 xσασ");
    }

    #[test]
    fn accents_stay_without_strip_accents() {
        let cased = BertNormalizer { strip_accents: false, lowercase: false, ..UNCASED };
        assert_eq!(cased.normalize("É\t!"), "É !");
    }
}
