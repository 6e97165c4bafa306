//! The words of a text, as scikit-learn's `TfidfVectorizer` finds them with its default pattern `(?u)\b\w\w+\b`.
//!
//! A text becomes its lower-cased bytes and one bit per byte that tells whether it belongs to a word. Words are then the
//! runs of ones, found by counting zeros, with no branch on any single character.

use super::bytes::{BLOCK, classify, load};
use crate::unicode::text::Characters;

/// Shorter words are no words for the pattern, in characters.
const SHORTEST: usize = 2;

/// Bytes after the end of the text, so that every word can be read 16 bytes at a time.
const SLACK: usize = 16;

/// A text made ready to be cut into words; its buffers are kept from text to text.
#[derive(Default)]
pub(crate) struct Prepared {
    /// The text and, after it, one zero or more to the end of its last block, then what an earlier text left.
    bytes: Vec<u8>,
    /// One bit per byte: belongs to a word. The last is zero, so every word has an end.
    words: Vec<u64>,
    changed: String,
    is_ascii: bool,
}

impl Prepared {
    /// Reads a text.
    pub fn read(&mut self, text: &str, characters: &Characters) {
        self.is_ascii = self.classify(text.as_bytes(), characters.lowers());
        if !self.is_ascii {
            let mut changed = std::mem::take(&mut self.changed);
            changed.clear();
            characters.push(text, &mut changed);
            self.classify(changed.as_bytes(), false);
            self.mark_word_characters(&changed, characters);
            self.changed = changed;
        }
    }

    /// Calls `found` with all bytes and the place of each word among them.
    pub fn each_word(&self, mut found: impl FnMut(&[u8], std::ops::Range<usize>)) {
        let (mut carry, mut last) = (0, 0);
        let mut start = 0;
        let mut inside = false;
        let mut following = self.words.iter().skip(1);
        for (block, &all) in self.words.iter().enumerate() {
            // Bytes of words whose neighbours are none are words of one character or parts of none: left out without a branch.
            let next = following.next().map_or(0, |next| next << 63);
            let word = all & (all << 1 | last | all >> 1 | next);
            last = all >> 63;
            // A one where a word begins or has ended: the two take turns.
            let mut edges = word ^ (word << 1 | carry);
            carry = word >> 63;
            while edges != 0 {
                let at = block * BLOCK + edges.trailing_zeros() as usize;
                edges &= edges - 1;
                if inside && self.is_long_enough(start, at) {
                    found(&self.bytes, start..at);
                }
                start = at;
                inside = !inside;
            }
        }
    }

    /// Copies the text, with ASCII in lower case if asked for, and marks its ASCII words; whether it is all ASCII.
    fn classify(&mut self, text: &[u8], lowercase: bool) -> bool {
        let (blocks, rest) = text.as_chunks::<BLOCK>();
        let mut last = [0; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        let needed = (blocks.len() + 1) * BLOCK + SLACK;
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        self.words.clear();
        let mut beyond_ascii = 0;
        let (places, _) = self.bytes.as_chunks_mut::<BLOCK>();
        for (block, place) in blocks.iter().chain(std::iter::once(&last)).zip(places) {
            let (lowered, word, beyond) = classify(block, lowercase);
            *place = lowered;
            self.words.push(word);
            beyond_ascii |= beyond;
        }
        beyond_ascii == 0
    }

    fn mark_word_characters(&mut self, text: &str, characters: &Characters) {
        for (at, c) in text.char_indices().filter(|&(_, c)| !c.is_ascii() && characters.is_word(c)) {
            for at in at..at + c.len_utf8() {
                self.words[at / BLOCK] |= 1 << (at % BLOCK);
            }
        }
    }

    fn is_long_enough(&self, start: usize, end: usize) -> bool {
        let continues = |byte: &&u8| **byte & 0xC0 != 0x80;
        end - start >= SHORTEST
            && (self.is_ascii
                || end - start > 4 * (SHORTEST - 1)
                || self.bytes[start..end].iter().filter(continues).count() >= SHORTEST)
    }
}

/// The bytes of a word as two integers, with zeros after its end; none where it has more than 16.
pub(crate) fn short_key(bytes: &[u8], word: &std::ops::Range<usize>) -> Option<[u64; 2]> {
    let [low_kept, high_kept] = KEPT.get(word.len())?;
    let [low, high] = load(bytes, word.start);
    Some([low & low_kept, high & high_kept])
}

/// Of each length to 16, the bytes of a word.
const KEPT: [[u64; 2]; 17] = {
    let mut kept = [[0; 2]; 17];
    let mut length = 1;
    while length <= 16 {
        let whole = u128::MAX >> (128 - 8 * length);
        kept[length] = [whole as u64, (whole >> 64) as u64];
        length += 1;
    }
    kept
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unicode::text::Preprocessing;

    fn words(text: &str, lowercase: bool, strip_accents: bool) -> Vec<String> {
        let mut all = Vec::new();
        let mut prepared = Prepared::default();
        prepared.read(text, &Characters::new(Preprocessing { lowercase, strip_accents }));
        prepared.each_word(|bytes, word| all.push(String::from_utf8(bytes[word].to_vec()).unwrap()));
        all
    }

    #[test]
    fn words_have_two_characters_or_more() {
        assert_eq!(words("I'm a_b é éé x1, 日本", true, false), ["a_b", "éé", "x1", "日本"]);
        assert_eq!(words("𝐀 𝐀𝐁", false, false), ["𝐀𝐁"]);
        assert_eq!(words("", true, true), [""; 0]);
    }

    #[test]
    fn lowering_comes_before_stripping() {
        assert_eq!(words("ÉTÉ İS TM™", true, true), ["ete", "is", "tmTM"]);
        assert_eq!(words("ÉTÉ", false, true), ["ETE"]);
    }

    #[test]
    fn words_cross_the_blocks_in_which_a_text_is_read() {
        for length in 58..72 {
            let long = "Q".repeat(length);
            let lower = long.to_lowercase();
            assert_eq!(words(&format!("{long} ab"), true, true), [lower.as_str(), "ab"]);
            assert_eq!(words(&format!("é{long}!ab"), true, true), [format!("e{lower}").as_str(), "ab"]);
            assert_eq!(words(&long, true, true), [lower]);
        }
    }

    #[test]
    fn single_letters_are_no_words_wherever_a_block_ends() {
        for before in 60..68 {
            let blanks = " ".repeat(before);
            assert_eq!(words(&format!("{blanks}a b"), true, true), [""; 0]);
            assert_eq!(words(&format!("{blanks}a"), true, true), [""; 0]);
            assert_eq!(words(&format!("{blanks}ab c de"), true, true), ["ab", "de"]);
            assert_eq!(words(&format!("{blanks}é a éa"), true, false), ["éa"]);
        }
    }

    #[test]
    fn a_shorter_text_sees_nothing_of_the_longer_one_before() {
        let characters = Characters::new(Preprocessing { lowercase: true, strip_accents: true });
        let mut prepared = Prepared::default();
        for (text, expected) in [("x".repeat(200), 200), ("yy".to_owned(), 2), (String::new(), 0)] {
            let mut length = 0;
            prepared.read(&text, &characters);
            prepared.each_word(|_, word| length += word.len());
            assert_eq!(length, expected);
        }
    }

    #[test]
    fn a_short_key_holds_the_word_and_zeros() {
        let bytes = b"abcdefghijklmnopqrstuvwxyz0123456789";
        assert_eq!(short_key(bytes, &(1..3)), Some([u64::from(b'b') | u64::from(b'c') << 8, 0]));
        assert_eq!(short_key(bytes, &(0..8)), Some([u64::from_le_bytes(*b"abcdefgh"), 0]));
        let whole = [u64::from_le_bytes(*b"abcdefgh"), u64::from_le_bytes(*b"ijklmnop")];
        assert_eq!(short_key(bytes, &(0..16)), Some(whole));
        assert_eq!(short_key(bytes, &(0..17)), None);
    }
}
