//! Two open-addressing tables that never change after loading: words by their bytes, longer n-grams by two integers.
//!
//! At most half of the slots are taken, so a search is short; only what was loaded can make it long, never a text.

use std::ops::Range;

use super::bytes::load;
use super::words::short_key;
use crate::hash::FastMap;

/// Stands for a word, a node or a feature that there is none of.
pub(crate) const NONE: u32 = u32::MAX;

/// High half of the key of a word that is longer than a key; no UTF-8 has this byte.
const LONG: u64 = 0xFF << 56;

const FIRST_PRIME: u64 = 0x9E37_79B9_7F4A_7C15;
const SECOND_PRIME: u64 = 0xD6E8_FEB8_6659_FD93;

fn mix(low: u64, high: u64) -> u64 {
    let product = u128::from(low ^ FIRST_PRIME) * u128::from(high ^ SECOND_PRIME);
    product as u64 ^ (product >> 64) as u64
}

/// An open-addressing table of numbers: small, so that it stays in the cache while the keys lie elsewhere.
#[derive(Debug, Default)]
struct Index {
    /// Number plus one in the low bits, bits of the hash above them; 0 is free.
    slots: Vec<u32>,
    /// The low bits.
    numbers: u32,
}

impl Index {
    /// Of the hashes of number 0, 1 and so on.
    fn of(hashes: impl ExactSizeIterator<Item = u64>) -> Self {
        let size = (2 * hashes.len()).next_power_of_two().max(4);
        let number_bits = usize::BITS - hashes.len().leading_zeros();
        let numbers = u32::MAX.checked_shr(32 - number_bits).unwrap_or(0);
        let mut this = Self { slots: vec![0; size], numbers };
        for (number, hash) in hashes.enumerate() {
            let mut at = this.home(hash);
            while this.slots[at] != 0 {
                at = (at + 1) & (size - 1);
            }
            this.slots[at] = this.tag(hash) | (number as u32 + 1);
        }
        this
    }

    /// The number with this hash for which `is_it` holds, or [`NONE`].
    fn find(&self, hash: u64, is_it: impl Fn(usize) -> bool) -> u32 {
        let tag = self.tag(hash);
        let mut at = self.home(hash);
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return NONE;
            }
            let number = (slot & self.numbers) - 1;
            if slot & !self.numbers == tag && is_it(number as usize) {
                return number;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    fn tag(&self, hash: u64) -> u32 {
        (hash >> 32) as u32 & !self.numbers
    }

    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }
}

/// Words and their numbers.
#[derive(Debug, Default)]
pub(crate) struct Words {
    index: Index,
    keys: Vec<[u64; 2]>,
    /// Those of more than 16 bytes, whose key is a hash.
    long: FastMap<u32, Box<[u8]>>,
}

impl Words {
    /// Words that differ; the first is number 0.
    pub fn of(words: &[&str]) -> Self {
        let padded: Vec<Vec<u8>> = words.iter().map(|word| [word.as_bytes(), &[0; 16]].concat()).collect();
        let keys: Vec<_> =
            padded.iter().zip(words).map(|(bytes, word)| key(bytes, &(0..word.len()))).collect();
        let long = words.iter().zip(0..).filter(|(word, _)| word.len() > 16);
        Self {
            index: Index::of(keys.iter().map(|&[low, high]| mix(low, high))),
            long: long.map(|(word, number)| (number, word.as_bytes().into())).collect(),
            keys,
        }
    }

    /// The number of the word that lies at a place in `bytes`, or [`NONE`].
    pub fn find(&self, bytes: &[u8], word: Range<usize>) -> u32 {
        let key = key(bytes, &word);
        let is_same = |number: usize| {
            self.keys[number] == key
                && (word.len() <= 16
                    || self.long.get(&(number as u32)).is_some_and(|long| **long == bytes[word.clone()]))
        };
        self.index.find(mix(key[0], key[1]), is_same)
    }
}

fn key(bytes: &[u8], word: &Range<usize>) -> [u64; 2] {
    short_key(bytes, word).unwrap_or_else(|| long_key(bytes, word))
}

#[cold]
fn long_key(bytes: &[u8], word: &Range<usize>) -> [u64; 2] {
    let whole = word.clone().step_by(16).take(word.len() / 16).map(|at| load(bytes, at));
    let last = load(bytes, word.end - 16);
    let hash = whole.chain([last]).fold(0, |hash: u64, [low, high]| mix(low ^ hash.rotate_left(32), high));
    [hash, LONG | word.len() as u64]
}

/// Where a word leads to from a node of the tree of n-grams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The node that longer n-grams go on from, or [`NONE`].
    pub node: u32,
    /// The n-gram that ends here, or [`NONE`].
    pub feature: u32,
}

/// N-grams of two words and more: edges from a node by a word.
#[derive(Debug)]
pub(crate) struct Edges {
    index: Index,
    edges: Vec<(u64, Edge)>,
    /// A bit for each hash that occurs: most pairs of words are no n-gram, and end here.
    filter: Vec<u64>,
}

/// Bits of the filter per slot of the index.
const FILTER_BITS: usize = 8;

impl Edges {
    /// Of all edges by their keys; each key may be there once.
    pub fn new(edges: Vec<(u64, Edge)>) -> Self {
        let index = Index::of(edges.iter().map(|&(key, _)| hash_of(key)));
        let mut filter = vec![0; (index.slots.len() * FILTER_BITS).div_ceil(64)];
        for &(key, _) in &edges {
            let (word, bit) = bit_of(&filter, hash_of(key));
            filter[word] |= 1 << bit;
        }
        Self { index, edges, filter }
    }

    /// The key of an edge.
    pub fn key(node: u32, word: u32) -> u64 {
        u64::from(node) << 32 | u64::from(word)
    }

    /// Whether the edge may be there: of those that are not, most are told here, by one look.
    pub fn may_have(&self, key: u64) -> bool {
        let (word, bit) = bit_of(&self.filter, hash_of(key));
        self.filter[word] >> bit & 1 == 1
    }

    /// The edge, where it is there.
    pub fn find(&self, key: u64) -> Option<Edge> {
        self.edges
            .get(self.index.find(hash_of(key), |number| self.edges[number].0 == key) as usize)
            .map(|&(_, edge)| edge)
    }
}

/// Word and bit of the filter; other bits of the hash than those of the home and most of the tag.
fn bit_of(filter: &[u64], hash: u64) -> (usize, u64) {
    let place = (hash >> 20) as usize & (filter.len() * 64 - 1);
    (place / 64, place as u64 % 64)
}

fn hash_of(key: u64) -> u64 {
    mix(key, key.rotate_left(32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(words: &Words, word: &str) -> u32 {
        let bytes = [b"<", word.as_bytes(), &[b'>'; 16]].concat();
        words.find(&bytes, 1..1 + word.len())
    }

    #[test]
    fn words_of_every_length_keep_their_numbers() {
        let all: Vec<String> = (1..200).map(|length| "x".repeat(length)).collect();
        let words = Words::of(&all.iter().map(String::as_str).collect::<Vec<_>>());
        for (number, word) in all.iter().enumerate() {
            assert_eq!(find(&words, word), number as u32);
            assert_eq!(find(&words, &format!("{word}z")), NONE);
        }
        assert_eq!(find(&Words::of(&[]), "ab"), NONE);
        assert_eq!(find(&Words::of(&["ab"]), "ab"), 0);
    }

    #[test]
    fn long_words_that_differ_in_one_byte_are_different() {
        let base = "abcdefghijklmnopqrstuvwxyz0123456789";
        let words = Words::of(&[base]);
        for at in 0..base.len() {
            let mut other = base.as_bytes().to_vec();
            other[at] = b'_';
            assert_eq!(find(&words, std::str::from_utf8(&other).unwrap()), NONE);
        }
        assert_eq!(find(&words, base), 0);
    }

    #[test]
    fn edges_are_found_and_others_are_not() {
        let edge = |i: u32| (Edges::key(i, 7 * i), Edge { node: i, feature: 2 * i });
        let edges = Edges::new((0..1000).map(edge).collect());
        for i in 0..1000 {
            let (key, edge) = edge(i);
            assert_eq!(edges.find(key), Some(edge));
            assert_eq!(edges.find(Edges::key(i, 7 * i + 1)), None);
        }
        assert_eq!(Edges::new(vec![]).find(0), None);
        assert_eq!(Edges::new(vec![]).find(Edges::key(NONE, NONE)), None);
    }
}
