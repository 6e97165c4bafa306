//! Unigram: of all covers of a word by pieces, the one with the greatest sum of scores.

use super::bpe::{byte_tokens, push_bytes};
use super::json::Field;
use super::trie::Trie;
use super::vocabulary::Vocabulary;
use crate::error::Result;

/// How much worse than the worst piece an unknown character is; the reference's constant.
const UNKNOWN_PENALTY: f64 = 10.0;

/// The model.
pub(crate) struct Unigram {
    pieces: Trie<Piece>,
    scores: Vec<f64>,
    unknown: u32,
    unknown_score: f64,
    fallback: Option<Box<[Option<u32>; 256]>>,
    /// ASCII marks that no piece has right after an ASCII letter or digit, so that every cover has a border before them.
    opens: [bool; 128],
}

#[derive(Clone, Copy)]
struct Piece {
    score: f64,
    id: u32,
}

/// The best cover that ends at one byte of the word.
#[derive(Clone, Copy)]
pub(crate) struct Best {
    score: f64,
    /// Where its last piece starts; `usize::MAX` where no cover ends.
    start: usize,
    id: u32,
}

const UNREACHED: Best = Best { score: 0.0, start: usize::MAX, id: 0 };

impl Unigram {
    pub fn read(model: &Field<'_>) -> Result<(Self, Vocabulary)> {
        let entries = model.required("vocab")?;
        let mut vocabulary = Vocabulary::default();
        let mut scores = Vec::new();
        for (entry, id) in entries.items()?.iter().zip(0..) {
            match entry.items()?.as_slice() {
                [piece, score] => {
                    vocabulary.insert(piece.string()?.to_owned(), id);
                    scores.push(score.float()?);
                }
                _ => return Err(entry.wrong("a piece and its score")),
            }
        }
        let unknown = model.required("unk_id")?;
        if unknown.size()? >= scores.len() {
            return Err(unknown.wrong("an index into model.vocab"));
        }
        let fallback = model.flag("byte_fallback", false)?.then(|| byte_tokens(&vocabulary));
        let this = Self {
            opens: opening_marks(vocabulary.keys().map(String::as_bytes)),
            pieces: Trie::build(
                vocabulary
                    .iter()
                    .map(|(piece, &id)| (piece.as_bytes(), Piece { score: scores[id as usize], id })),
            ),
            unknown: unknown.id()?,
            unknown_score: scores.iter().copied().fold(f64::INFINITY, f64::min) - UNKNOWN_PENALTY,
            scores,
            fallback,
        };
        Ok((this, vocabulary))
    }

    pub fn tokenize(&self, word: &str, best: &mut Vec<Best>, out: &mut Vec<u32>) {
        self.append(word, 0.0, best, out);
    }

    /// What follows the letters that a word, as `no,` or `it's`, begins with, if every cover has a border there.
    pub fn after_border<'a>(&self, word: &'a str, letters: usize) -> Option<&'a str> {
        let mark = word.as_bytes().get(letters).filter(|_| letters > 0)?;
        self.opens.get(usize::from(*mark)).filter(|&&opens| opens)?;
        word.get(letters..)
    }

    /// Whether a piece of known score, and no unknown one that its neighbours would be joined to.
    pub fn is_known(&self, id: u32) -> bool {
        id != self.unknown
    }

    /// Appends the ids of what follows the border of a word where all before it is one piece.
    ///
    /// The sums go on from that piece's score: sums from 0 are rounded otherwise, and of equal covers another could win.
    pub fn tokenize_after(&self, first: u32, rest: &str, best: &mut Vec<Best>, out: &mut Vec<u32>) {
        match self.pieces.get(rest.as_bytes()).filter(|_| rest.len() == 1) {
            Some(mark) => out.push(mark.id),
            None => self.append(rest, self.scores[first as usize], best, out),
        }
    }

    fn append(&self, word: &str, score: f64, best: &mut Vec<Best>, out: &mut Vec<u32>) {
        self.search(word, score, best);
        let before = out.len();
        let mut end = word.len();
        while end > 0 {
            let mut start = best[end].start;
            let id = best[end].id;
            if id == self.unknown {
                while start > 0 && best[start].id == self.unknown {
                    start = best[start].start;
                }
                self.push_unknown(&word[start..end], out);
            } else {
                out.push(id);
            }
            end = start;
        }
        out[before..].reverse();
    }

    /// Fills `best` from left to right; of equal scores the one found first stays, as in the reference.
    fn search(&self, word: &str, score: f64, best: &mut Vec<Best>) {
        best.clear();
        best.resize(word.len() + 1, UNREACHED);
        best[0].score = score;
        for (start, c) in word.char_indices() {
            let so_far = best[start].score;
            let mut covers_char = false;
            self.pieces.each_prefix(&word.as_bytes()[start..], |len, piece| {
                covers_char |= len == c.len_utf8();
                improve(&mut best[start + len], so_far + piece.score, start, piece.id);
            });
            if !covers_char {
                improve(&mut best[start + c.len_utf8()], so_far + self.unknown_score, start, self.unknown);
            }
        }
    }

    /// Adjacent unknown pieces count as one; the ids are appended in reverse, like all of them.
    fn push_unknown(&self, text: &str, out: &mut Vec<u32>) {
        if let Some(piece) = self.pieces.get(text.as_bytes()) {
            return out.push(piece.id);
        }
        let before = out.len();
        if let Some(table) = &self.fallback
            && text.chars().all(|c| push_bytes(c, table, out))
        {
            return out[before..].reverse();
        }
        out.truncate(before);
        out.push(self.unknown);
    }
}

fn opening_marks<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> [bool; 128] {
    let mut opens = std::array::from_fn(|byte| (byte as u8).is_ascii_punctuation());
    for pair in pieces.flat_map(|piece| piece.windows(2)) {
        if pair[0].is_ascii_alphanumeric() && pair[1].is_ascii() {
            opens[usize::from(pair[1])] = false;
        }
    }
    opens
}

fn improve(best: &mut Best, score: f64, start: usize, id: u32) {
    if best.start == usize::MAX || score > best.score {
        *best = Best { score, start, id };
    }
}
