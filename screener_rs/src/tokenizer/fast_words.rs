//! The words of a byte-level pattern, 64 bytes at a time, each looked up where it stands.

use super::block::{BLOCK, Scan, WINDOW, Window, Work, lowest};
use super::key::{Key, Looked, NO_ID};
use super::model::{Model, ModelScratch};
use super::scan::{Masks, Pattern, ascii_contraction};

/// Appends the ids of a text until there are `enough`, or a few more.
pub(crate) struct EncodeWords<'a> {
    pub text: &'a str,
    pub pattern: Pattern,
    pub model: &'a Model,
    pub enough: usize,
    pub scratch: &'a mut ModelScratch,
    pub out: &'a mut Vec<u32>,
}

/// Where the words of a block begin, and where what is not yet decided begins.
struct Found {
    starts: u64,
    end: usize,
}

impl Work for EncodeWords<'_> {
    #[inline(always)]
    fn run(mut self, scan: impl Scan) {
        let bytes = self.text.as_bytes();
        let mut window = Window::new(bytes);
        let mut looked = Looked::new();
        let mut at = 0;
        while at < bytes.len() && self.out.len() < self.enough {
            let block = window.at(at);
            let found = match block[..2] {
                // Most texts that are not ASCII hold one such word after the other.
                [first, second] if !first.is_ascii() || first == b' ' && !second.is_ascii() => {
                    Found { starts: 0, end: 0 }
                }
                _ => self.words(scan, block, bytes.len() - at),
            };
            if found.end == 0 {
                let len = self.pattern.word(&self.text[at..]);
                self.model.tokenize(&self.text[at..at + len], self.scratch, self.out);
                at += len;
            } else {
                self.push_block(&mut looked, block, at, &found);
                at += found.end;
            }
        }
    }
}

impl EncodeWords<'_> {
    #[inline(always)]
    fn words(&self, scan: impl Scan, block: &[u8; WINDOW], rest: usize) -> Found {
        let classes = scan.classes(block);
        let known = rest.min(BLOCK);
        let end = ((self.pattern.odd(&classes) & lowest(known)).trailing_zeros() as usize).min(known);
        let closed = end == rest;
        let masks = Masks::new(&classes, end);
        let mut starts = self.pattern.starts(masks, end, closed);
        let mut undecided = if closed { end } else { BLOCK };
        let mut quotes = starts & scan.equal(block, b'\'') & lowest(end);
        while quotes != 0 {
            let at = quotes.trailing_zeros() as usize;
            quotes &= quotes - 1;
            if !closed && at + 2 >= end {
                undecided = at;
                break;
            }
            let len = ascii_contraction(block[at + 1], block[at + 2], self.pattern.folds_case());
            if len > 0 {
                starts &= !(0b110 << at);
                starts |= 1u64.checked_shl((at + len) as u32).unwrap_or(0);
            }
        }
        if !closed {
            // The last word may go on, and so may the spaces before what is not decided.
            let blanks = masks.blanks_before(end);
            let last = if blanks > 0 { end - blanks } else { 63 - starts.leading_zeros() as usize };
            undecided = undecided.min(last);
        }
        Found { starts, end: undecided }
    }

    #[inline(always)]
    fn push_block(&mut self, looked: &mut Looked, block: &[u8; WINDOW], at: usize, found: &Found) {
        let mut starts = found.starts & lowest(found.end);
        looked.clear();
        while starts != 0 {
            let start = starts.trailing_zeros() as usize;
            starts &= starts - 1;
            let len = (starts.trailing_zeros() as usize).min(found.end) - start;
            let key = Key::of_window(block, start, len);
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

    #[inline(never)]
    fn push_word(&mut self, start: usize, end: usize) {
        self.model.tokenize_unlisted(&self.text[start..end], self.scratch, self.out);
    }
}
