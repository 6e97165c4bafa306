//! BERT's normaliser and pre-tokenizer in one pass, 64 bytes at a time: ASCII words need no copy.
//!
//! Sound because both parts treat the text between ASCII spaces and ASCII punctuation on its own: these are no
//! combining marks, so normalising moves nothing across them, and each ends a word.

use super::bert_normalizer::BertNormalizer;
use super::block::{BLOCK, Scan, WINDOW, Window, Work, lowest, run_before, run_starts};
use super::key::{Key, Looked, NO_ID};
use super::model::{Model, ModelScratch};
use crate::unicode::bert;

/// Appends the ids of a text until there are `enough`, or a few more.
pub(crate) struct EncodeBert<'a> {
    pub text: &'a str,
    pub normalizer: &'a BertNormalizer,
    pub model: &'a Model,
    pub enough: usize,
    pub scratch: &'a mut ModelScratch,
    pub out: &'a mut Vec<u32>,
}

/// The words and marks of a block.
struct Found {
    word: u64,
    starts: u64,
}

impl Work for EncodeBert<'_> {
    #[inline(always)]
    fn run(mut self, scan: impl Scan) {
        let bytes = self.text.as_bytes();
        let mut window = Window::new(bytes);
        let mut looked = Looked::new();
        let mut at = 0;
        while at < bytes.len() && self.out.len() < self.enough {
            let rest = bytes.len() - at;
            let block = window.at(at);
            let classes = scan.classes(block);
            let word = classes.letters | classes.digits;
            let odd =
                ((classes.wide | classes.controls | classes.feeds) & lowest(rest)).trailing_zeros() as usize;
            // A word that touches something odd, or the end of the block, is not decided here.
            let end = if odd == BLOCK && rest <= BLOCK { rest } else { odd - run_before(word, odd) };
            let starts = (run_starts(word) | classes.marks()) & lowest(end);
            self.push_block(&mut looked, block, at, Found { word, starts });
            at += end;
            if end == 0 || odd < BLOCK {
                at += self.push_slow(at);
            }
        }
    }
}

impl EncodeBert<'_> {
    #[inline(always)]
    fn push_block(&mut self, looked: &mut Looked, block: &[u8; WINDOW], at: usize, found: Found) {
        let Found { word, mut starts } = found;
        looked.clear();
        while starts != 0 {
            let start = starts.trailing_zeros() as usize;
            starts &= starts - 1;
            let is_word = word >> start & 1 == 1;
            let len = ((!(word >> start)).trailing_zeros() as usize).max(1);
            let key = Key::of_lowercased(block, start, len, is_word && self.normalizer.lowercase);
            looked.add(self.model.whole(), key, start, len);
        }
        self.out.reserve(BLOCK);
        for (start, end, id) in looked.words() {
            match id {
                NO_ID => self.push_word(at + start, at + end),
                id => self.out.push(id),
            }
        }
    }

    /// A word of ASCII letters and digits that the table of whole words does not have, or a mark.
    #[inline(never)]
    fn push_word(&mut self, start: usize, end: usize) {
        let word = &self.text[start..end];
        if self.normalizer.lowercase && word.bytes().any(|byte| byte.is_ascii_uppercase()) {
            let lower = word.to_ascii_lowercase();
            self.model.tokenize_unlisted(&lower, self.scratch, self.out);
        } else {
            self.model.tokenize_unlisted(word, self.scratch, self.out);
        }
    }

    /// What begins at a word and holds a character that is not ASCII or a control, up to the next ASCII space or mark.
    #[inline(never)]
    fn push_slow(&mut self, at: usize) -> usize {
        let rest = &self.text[at..];
        let plain = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let odd = |byte: &u8| byte.is_ascii_alphanumeric() || is_odd(*byte);
        let len = plain + rest[plain..].bytes().take_while(odd).count();
        if len == plain {
            if plain > 0 {
                self.push_word(at, at + plain);
            }
            return len;
        }
        let normal = self.normalizer.normalize(&rest[..len]);
        for part in normal.split(char::is_whitespace) {
            for word in part.split_inclusive(bert::is_punctuation) {
                let last = word.char_indices().next_back().filter(|&(_, c)| bert::is_punctuation(c));
                let (word, mark) = word.split_at(last.map_or(word.len(), |(at, _)| at));
                for piece in [word, mark].into_iter().filter(|piece| !piece.is_empty()) {
                    self.model.tokenize(piece, self.scratch, self.out);
                }
            }
        }
        len
    }
}

/// Not ASCII, or a control character that cleaning removes: the words around it may change.
fn is_odd(byte: u8) -> bool {
    !byte.is_ascii() || byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r')
}
