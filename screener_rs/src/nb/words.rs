//! The words of a text, as scikit-learn's `TfidfVectorizer` finds them with its default pattern `(?u)\b\w\w+\b`.

use crate::unicode::text::{is_word, push_lower, push_stripped};

/// Shorter words are no words for the pattern, in characters.
const SHORTEST: usize = 2;

/// What happens to a text before it is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preprocessing {
    pub lowercase: bool,
    pub strip_accents: bool,
}

/// Buffers kept from text to text.
#[derive(Default)]
pub(crate) struct WordScratch {
    lowered: String,
    stripped: String,
}

/// Calls `found` with each word of a text.
pub(crate) fn each_word(text: &str, how: Preprocessing, scratch: &mut WordScratch, found: impl FnMut(&str)) {
    let WordScratch { lowered, stripped } = scratch;
    let mut text = text;
    if how.lowercase {
        lowered.clear();
        push_lower(text, lowered);
        text = lowered;
    }
    if how.strip_accents && !text.is_ascii() {
        stripped.clear();
        push_stripped(text, stripped);
        text = stripped;
    }
    text.split(|c| !is_word(c)).filter(|word| is_long_enough(word)).for_each(found);
}

fn is_long_enough(word: &str) -> bool {
    word.len() >= SHORTEST && (word.is_ascii() || word.chars().nth(SHORTEST - 1).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str, lowercase: bool, strip_accents: bool) -> Vec<String> {
        let mut all = Vec::new();
        let how = Preprocessing { lowercase, strip_accents };
        each_word(text, how, &mut WordScratch::default(), |word| all.push(word.to_owned()));
        all
    }

    #[test]
    fn words_have_two_characters_or_more() {
        assert_eq!(words("I'm a_b é éé x1, 日本", true, false), ["a_b", "éé", "x1", "日本"]);
    }

    #[test]
    fn lowering_comes_before_stripping() {
        assert_eq!(words("ÉTÉ İS", true, true), ["ete", "is"]);
        assert_eq!(words("ÉTÉ", false, true), ["ETE"]);
    }
}
