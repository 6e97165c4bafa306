//! Two open-addressing tables that never change after loading: words by their bytes, longer n-grams by two integers.
//!
//! At most half of the slots are taken, so a search is short; only what was loaded can make it long, never a text.

use std::ops::Range;

use super::bytes::load;
use super::words::short_key;

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

fn slots(count: usize) -> usize {
    (2 * count).next_power_of_two().max(4)
}

#[derive(Debug, Clone, Copy, Default)]
struct WordSlot {
    /// Both zero: the slot is free.
    key: [u64; 2],
    id: u32,
    /// Where a long word lies among the texts of long words.
    text: Option<(u32, u32)>,
}

/// Words and their numbers, in order of insertion.
#[derive(Debug, Default)]
pub(crate) struct Words {
    slots: Vec<WordSlot>,
    count: u32,
    long: Vec<u8>,
}

impl Words {
    /// Room for `count` words.
    pub fn with_room(count: usize) -> Self {
        Self { slots: vec![WordSlot::default(); slots(count)], ..Self::default() }
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// The number of the word that lies at a place in `bytes`, or [`NONE`].
    pub fn find(&self, bytes: &[u8], word: Range<usize>) -> u32 {
        let key = self.key(bytes, &word);
        let mut at = self.home(key);
        loop {
            let slot = &self.slots[at];
            if slot.key == key && self.is_same(slot, bytes, &word) {
                return slot.id;
            }
            if slot.key == [0, 0] {
                return NONE;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// The number of a word, which it is given if it has none.
    pub fn insert(&mut self, word: &str) -> u32 {
        let mut bytes = word.as_bytes().to_vec();
        bytes.extend_from_slice(&[0; 16]);
        let place = 0..word.len();
        let known = self.find(&bytes, place.clone());
        if known != NONE {
            return known;
        }
        let key = self.key(&bytes, &place);
        let mut at = self.home(key);
        while self.slots[at].key != [0, 0] {
            at = (at + 1) & (self.slots.len() - 1);
        }
        let text = (word.len() > 16).then(|| {
            let start = self.long.len() as u32;
            self.long.extend_from_slice(word.as_bytes());
            (start, self.long.len() as u32)
        });
        self.slots[at] = WordSlot { key, id: self.count, text };
        self.count += 1;
        self.count - 1
    }

    fn home(&self, [low, high]: [u64; 2]) -> usize {
        (mix(low, high) >> 20) as usize & (self.slots.len() - 1)
    }

    fn key(&self, bytes: &[u8], word: &Range<usize>) -> [u64; 2] {
        short_key(bytes, word).unwrap_or_else(|| {
            let whole = word.clone().step_by(16).take(word.len() / 16).map(|at| load(bytes, at));
            let last = load(bytes, word.end - 16);
            let hash =
                whole.chain([last]).fold(0, |hash: u64, [low, high]| mix(low ^ hash.rotate_left(32), high));
            [hash, LONG | word.len() as u64]
        })
    }

    fn is_same(&self, slot: &WordSlot, bytes: &[u8], word: &Range<usize>) -> bool {
        slot.text.is_none_or(|(start, end)| self.long[start as usize..end as usize] == bytes[word.clone()])
    }
}

#[derive(Debug, Clone, Copy)]
struct EdgeSlot {
    key: u64,
    edge: Edge,
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
    slots: Vec<EdgeSlot>,
    /// A bit for each hash that occurs: most pairs of words are no n-gram, and end here.
    filter: Vec<u64>,
}

const FREE: EdgeSlot = EdgeSlot { key: u64::MAX, edge: Edge { node: NONE, feature: NONE } };

/// Bits of the filter per slot.
const FILTER_BITS: usize = 8;

impl Edges {
    /// Of all edges; each key may be there once.
    pub fn new(edges: impl ExactSizeIterator<Item = (u64, Edge)>) -> Self {
        let size = slots(edges.len());
        let mut this = Self { slots: vec![FREE; size], filter: vec![0; (size * FILTER_BITS).div_ceil(64)] };
        for (key, edge) in edges {
            let hash = hash_of(key);
            let mut at = this.home(hash);
            while this.slots[at].key != FREE.key {
                at = (at + 1) & (size - 1);
            }
            this.slots[at] = EdgeSlot { key, edge };
            let (word, bit) = this.bit(hash);
            this.filter[word] |= 1 << bit;
        }
        this
    }

    /// The key of an edge.
    pub fn key(node: u32, word: u32) -> u64 {
        u64::from(node) << 32 | u64::from(word)
    }

    /// Whether an edge may be there; false is certain.
    pub fn may_hold(&self, key: u64) -> bool {
        let (word, bit) = self.bit(hash_of(key));
        self.filter[word] >> bit & 1 == 1
    }

    /// The edge, where it is there.
    pub fn find(&self, key: u64) -> Option<Edge> {
        let mut at = self.home(hash_of(key));
        loop {
            let slot = &self.slots[at];
            if slot.key == FREE.key {
                return None;
            }
            if slot.key == key {
                return Some(slot.edge);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    /// Word and bit of the filter; other bits of the hash than those of the home.
    fn bit(&self, hash: u64) -> (usize, u64) {
        let place = (hash >> 24) as usize & (self.filter.len() * 64 - 1);
        (place / 64, place as u64 % 64)
    }
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
        let mut words = Words::with_room(all.len());
        for (id, word) in all.iter().enumerate() {
            assert_eq!(words.insert(word), id as u32);
            assert_eq!(words.insert(word), id as u32);
        }
        for (id, word) in all.iter().enumerate() {
            assert_eq!(find(&words, word), id as u32);
            assert_eq!(find(&words, &format!("{word}z")), NONE);
        }
        assert_eq!(words.len(), all.len() as u32);
    }

    #[test]
    fn long_words_that_differ_in_one_byte_are_different() {
        let mut words = Words::with_room(100);
        let base = "abcdefghijklmnopqrstuvwxyz0123456789";
        words.insert(base);
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
        let edges = Edges::new((0..1000).map(edge));
        for i in 0..1000 {
            let (key, edge) = edge(i);
            assert!(edges.may_hold(key));
            assert_eq!(edges.find(key), Some(edge));
            assert_eq!(edges.find(Edges::key(i, 7 * i + 1)), None);
        }
        let passing = (0..1000).filter(|&i| edges.may_hold(Edges::key(i, 7 * i + 1))).count();
        assert!(passing < 200, "{passing} of 1000 pass the filter");
        assert_eq!(Edges::new([].into_iter()).find(0), None);
    }
}
