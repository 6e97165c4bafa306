//! The patterns of byte-level pre-tokenizers, written out as scanners instead of regular expressions.

use super::block::{Classes, lowest, run_before, run_starts};
use crate::unicode::pattern::{Class, class};

/// A pattern that cuts a text into words and leaves nothing between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// GPT-2's, which ModernBERT shares.
    Gpt2,
    /// The same within the pieces that are left when each digit has been set apart: SmolLM2's.
    Gpt2Digits,
    /// That of cl100k and Llama 3 (numbers of up to three digits) or Qwen 2 (one digit).
    Cl100k { digits: usize },
}

/// GPT-2's pattern, which is built into `ByteLevel`.
pub(crate) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Pattern {
    /// The scanner of a regular expression, if there is one.
    pub fn of_regex(regex: &str) -> Option<Self> {
        match regex {
            GPT2 => Some(Self::Gpt2),
            LLAMA3 => Some(Self::Cl100k { digits: 3 }),
            QWEN2 => Some(Self::Cl100k { digits: 1 }),
            _ => None,
        }
    }

    /// Calls `emit` with each word, until it says false.
    pub fn each_word(self, text: &str, emit: &mut dyn FnMut(&str) -> bool) -> bool {
        let mut rest = text;
        while !rest.is_empty() {
            let (word, after) = rest.split_at(self.word(rest));
            if !emit(word) {
                return false;
            }
            rest = after;
        }
        true
    }

    /// Bytes of the word that a text begins with.
    pub fn word(self, text: &str) -> usize {
        match self {
            Self::Gpt2 => gpt2_word(text),
            Self::Gpt2Digits => gpt2_digits_word(text),
            Self::Cl100k { digits } => cl100k_word(text, digits),
        }
    }
}

/// Masks over the first bytes of a block, all ASCII, of which the first one begins a word.
#[derive(Clone, Copy)]
pub(crate) struct Masks {
    letters: u64,
    digits: u64,
    spaces: u64,
    /// All that is `\s`, the space among it.
    blanks: u64,
    /// Neither letter nor digit nor `\s`.
    others: u64,
}

impl Masks {
    #[inline(always)]
    pub fn new(classes: &Classes, end: usize) -> Self {
        let Classes { letters, digits, spaces, .. } = *classes;
        let blanks = spaces | classes.blanks | classes.feeds;
        let within = lowest(end);
        Self {
            letters: letters & within,
            digits: digits & within,
            spaces: spaces & within,
            blanks: blanks & within,
            others: !(letters | digits | blanks) & within,
        }
    }

    /// Bytes of `\s` right before `end`.
    #[inline(always)]
    pub fn blanks_before(&self, end: usize) -> usize {
        run_before(self.blanks, end)
    }
}

impl Pattern {
    /// Bytes that are left to [`Pattern::word`]: what is not ASCII, and for cl100k the ends of lines.
    #[inline(always)]
    pub fn odd(self, classes: &Classes) -> u64 {
        match self {
            Self::Gpt2 | Self::Gpt2Digits => classes.wide,
            // Tabs are among them; they are as rare.
            Self::Cl100k { .. } => classes.wide | classes.blanks,
        }
    }

    /// Where words begin, but for English contractions, which are the caller's.
    ///
    /// Of the `\s` before something else the last one is a word of its own or belongs to the word after it; `closed`
    /// says that the text ends with the masks, where no such word follows.
    #[inline(always)]
    pub fn starts(self, masks: Masks, end: usize, closed: bool) -> u64 {
        let Masks { letters, digits, spaces, blanks, others } = masks;
        let mut last_blanks = blanks & !(blanks >> 1);
        if closed && end > 0 {
            last_blanks &= !(1 << (end - 1));
        }
        let starts = run_starts(blanks)
            | match self {
                Self::Gpt2 => {
                    let runs = run_starts(letters) | run_starts(digits) | run_starts(others);
                    last_blanks | runs & !(spaces << 1)
                }
                Self::Gpt2Digits => {
                    let runs = run_starts(letters) | run_starts(others);
                    last_blanks & !(digits >> 1) | digits | runs & !(spaces << 1)
                }
                Self::Cl100k { digits: most } => {
                    let marks = run_starts(others) & !(spaces << 1);
                    // One mark, or one of `\s`, goes with the letters after it.
                    let joined = blanks | marks & !(others >> 1);
                    last_blanks | marks | run_starts(letters) & !(joined << 1) | every(digits, most)
                }
            };
        starts | 1
    }

    pub fn folds_case(self) -> bool {
        matches!(self, Self::Cl100k { .. })
    }
}

/// The first of each run, and then every third or each one.
#[inline(always)]
fn every(digits: u64, most: usize) -> u64 {
    if most == 1 {
        return digits;
    }
    let later = digits & digits << 1 & digits << 2 & digits << 3;
    let mut starts = run_starts(digits);
    let mut new = starts;
    while new != 0 {
        new = new << 3 & later;
        starts |= new;
    }
    starts
}

/// Bytes of an English contraction at an apostrophe, or 0; ASCII only.
#[inline(always)]
pub(crate) fn ascii_contraction(first: u8, second: u8, fold_case: bool) -> usize {
    let fold = |byte: u8| if fold_case { byte.to_ascii_lowercase() } else { byte };
    match (fold(first), fold(second)) {
        (b's' | b't' | b'm' | b'd', _) => 2,
        (b'r' | b'v', b'e') | (b'l', b'l') => 3,
        _ => 0,
    }
}

fn first(text: &str) -> Option<(char, Class)> {
    text.chars().next().map(|c| (c, class(c)))
}

/// Bytes of the leading run of one class.
fn run(text: &str, wanted: Class) -> usize {
    text.char_indices().find(|&(_, c)| class(c) != wanted).map_or(text.len(), |(at, _)| at)
}

/// Bytes of an English contraction after an apostrophe, the apostrophe included.
fn contraction(text: &str, fold_case: bool) -> Option<usize> {
    let mut chars = text.strip_prefix('\'')?.chars().map(|c| match c {
        // The long s folds to s; no other letter of the contractions has a fold outside ASCII.
        '\u{17f}' if fold_case => ('s', c),
        _ if fold_case => (c.to_ascii_lowercase(), c),
        _ => (c, c),
    });
    let (folded, c) = chars.next()?;
    match (folded, chars.next().map(|(folded, _)| folded)) {
        ('s' | 't' | 'm' | 'd', _) => Some(1 + c.len_utf8()),
        ('r' | 'v', Some('e')) | ('l', Some('l')) => Some(3),
        _ => None,
    }
}

/// `\s+(?!\S)|\s+`: spaces before a word leave it the last one.
fn spaces(text: &str) -> usize {
    let len = run(text, Class::Space);
    if len == text.len() {
        return len;
    }
    match text[..len].char_indices().next_back() {
        Some((last, _)) if last > 0 => last,
        _ => len,
    }
}

fn gpt2_word(text: &str) -> usize {
    if let Some(len) = contraction(text, false) {
        return len;
    }
    let space = usize::from(text.starts_with(' '));
    match first(&text[space..]) {
        Some((_, class)) if class != Class::Space => space + run(&text[space..], class),
        _ => spaces(text),
    }
}

/// A digit, or a word of GPT-2's of a text that ends before the next digit.
fn gpt2_digits_word(text: &str) -> usize {
    if let Some(digit) = text.chars().next().filter(|c| c.is_numeric()) {
        return digit.len_utf8();
    }
    let blanks = run(text, Class::Space);
    if text[blanks..].starts_with(char::is_numeric) {
        return blanks;
    }
    let word = gpt2_word(text);
    text[..word].find(char::is_numeric).unwrap_or(word)
}

fn cl100k_word(text: &str, digits: usize) -> usize {
    if let Some(len) = contraction(text, true) {
        return len;
    }
    let Some((c, kind)) = first(text) else { return 0 };
    let after = &text[c.len_utf8()..];
    let next = first(after).map(|(_, class)| class);
    match kind {
        Class::Letter => run(text, Class::Letter),
        Class::Number => number(text, digits),
        _ if !matches!(c, '\r' | '\n') && next == Some(Class::Letter) => {
            c.len_utf8() + run(after, Class::Letter)
        }
        Class::Other => symbols(text),
        Class::Space if c == ' ' && next == Some(Class::Other) => 1 + symbols(after),
        Class::Space => lines(text).unwrap_or_else(|| spaces(text)),
    }
}

fn number(text: &str, digits: usize) -> usize {
    text.chars().take(digits).take_while(|&c| class(c) == Class::Number).map(char::len_utf8).sum()
}

/// `[^\s\p{L}\p{N}]+[\r\n]*`
fn symbols(text: &str) -> usize {
    let len = run(text, Class::Other);
    len + text[len..].bytes().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

/// `\s*[\r\n]+`: the spaces up to the last end of line among them.
fn lines(text: &str) -> Option<usize> {
    let len = run(text, Class::Space);
    text[..len].rfind(['\r', '\n']).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pattern: Pattern, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        pattern.each_word(text, &mut |word| {
            found.push(word.to_owned());
            true
        });
        found
    }

    #[test]
    fn gpt2_keeps_one_space_with_the_word_after_it() {
        assert_eq!(
            words(Pattern::Gpt2, "it's  a\n b 12x!? "),
            ["it", "'s", " ", " a", "\n", " b", " 12", "x", "!?", " "]
        );
        assert_eq!(words(Pattern::Gpt2, "''s \u{a0}\u{a0}x"), ["''", "s", " \u{a0}", "\u{a0}", "x"]);
    }

    #[test]
    fn cl100k_takes_any_mark_before_letters_and_splits_numbers() {
        let pattern = Pattern::Cl100k { digits: 3 };
        assert_eq!(
            words(pattern, "I'LL (go) 12345 \r\n\n x"),
            ["I", "'LL", " (", "go", ")", " ", "123", "45", " \r\n\n", " x"]
        );
        assert_eq!(words(pattern, "a'\u{17f} \tb"), ["a", "'\u{17f}", " ", "\tb"]);
    }
}
