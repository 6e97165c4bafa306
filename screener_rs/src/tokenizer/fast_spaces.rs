//! Words between spaces, each with a `▁` before it, 64 bytes at a time; the normaliser is asked only where it matters.
//!
//! Sound because every step of such a normaliser treats the text on both sides of a border between two printable ASCII
//! characters on its own: no mark combines with what follows it, and no pattern of a replacement has a space.

use super::block::{BLOCK, Scan, WINDOW, Window, Work, lowest, run_before, run_starts};
use super::key::{Key, LONGEST, Looked, NO_ID};
use super::model::{MarkedWord, Model, ModelScratch};
use super::normalizer::Normalizer;
use super::pre_tokenizer::PreTokenizer;

/// Appends the ids of a text until there are `enough`, or a few more.
pub(crate) struct EncodeSpaces<'a> {
    pub text: &'a str,
    /// Pairs of bytes that the normaliser may change; it leaves all other printable ASCII as it is.
    pub pairs: &'a [[u8; 2]],
    pub normalizer: &'a Normalizer,
    pub pre_tokenizer: &'a PreTokenizer,
    pub model: &'a Model,
    pub enough: usize,
    pub scratch: &'a mut ModelScratch,
    pub out: &'a mut Vec<u32>,
}

/// What was seen of a block.
struct Looks<'a> {
    block: &'a [u8; WINDOW],
    /// Where the block begins in the text.
    at: usize,
    /// Where ASCII letters and digits are.
    letters: u64,
}

impl Looks<'_> {
    fn key(&self, start: usize, len: usize) -> Option<Key> {
        (1..=LONGEST).contains(&len).then(|| Key::of_window(self.block, start, len).marked())
    }
}

impl Work for EncodeSpaces<'_> {
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
            let mut odd = classes.wide | classes.controls | classes.blanks | classes.feeds;
            for &[first, second] in self.pairs {
                odd |= scan.equal(block, first) & (scan.equal(block, second) >> 1 | 1 << 63);
            }
            let odd = (odd & lowest(rest)).trailing_zeros() as usize;
            let word = !classes.spaces & lowest(rest);
            let end = if odd == BLOCK && rest <= BLOCK { rest } else { odd - run_before(word, odd) };
            let looks = Looks { block, at, letters: classes.letters | classes.digits };
            self.push_block(&mut looked, &looks, word, run_starts(word) & lowest(end));
            at += end;
            if end == 0 || odd < BLOCK {
                at = self.push_slow(at);
            }
        }
    }
}

impl EncodeSpaces<'_> {
    #[inline(always)]
    fn push_block(&mut self, looked: &mut Looked, looks: &Looks<'_>, word: u64, mut starts: u64) {
        looked.clear();
        while starts != 0 {
            let start = starts.trailing_zeros() as usize;
            starts &= starts - 1;
            let len = (!(word >> start)).trailing_zeros() as usize;
            let key = Key::of_window(looks.block, start, len).marked();
            looked.add(self.model.whole(), key, start, len);
        }
        self.out.reserve(BLOCK);
        for (start, end, id) in looked.words() {
            match id {
                NO_ID => self.push_word(looks, start, end),
                id => self.out.push(id),
            }
        }
    }

    #[inline(never)]
    fn push_word(&mut self, looks: &Looks<'_>, start: usize, end: usize) {
        let letters = (!(looks.letters >> start)).trailing_zeros() as usize;
        let word = MarkedWord {
            text: &self.text[looks.at + start..looks.at + end],
            key: looks.key(start, end - start),
            letters,
            first: looks.key(start, letters),
        };
        self.model.tokenize_marked(&word, self.scratch, self.out);
    }

    /// From the spaces before a word that is not plain to the next space after printable ASCII; returns where that is.
    #[inline(never)]
    fn push_slow(&mut self, at: usize) -> usize {
        let bytes = self.text.as_bytes();
        let spaces = bytes[..at].iter().rev().take_while(|&&byte| byte == b' ').count();
        let is_border = |pair: &[u8]| pair[0].is_ascii_graphic() && pair[1] == b' ';
        let end = bytes[at..].windows(2).position(is_border).map_or(bytes.len(), |found| at + found + 1);
        let normal = self.normalizer.normalize(&self.text[at - spaces..end]);
        self.pre_tokenizer.each_word(&normal, false, &mut |word| {
            self.model.tokenize(word, self.scratch, self.out);
            self.out.len() < self.enough
        });
        end
    }
}
