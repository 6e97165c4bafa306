//! Remembers the ids of short words; a word's ids depend on the word alone, so the cache cannot change a result.

use crate::hash::FastHasher;
use std::hash::Hasher;

const SLOTS: usize = 1 << 14;
const LONGEST_KEY: usize = 15;
const MOST_IDS: usize = 4;
const NO_ID: u32 = u32::MAX;

/// Half a cache line: the word with its length in the last byte (0: empty), and its ids up to the first [`NO_ID`].
#[derive(Clone, Copy)]
struct Slot {
    key: [u8; LONGEST_KEY + 1],
    ids: [u32; MOST_IDS],
}

/// A fixed number of slots, each overwritten by the next word that falls on it.
pub(crate) struct WordCache {
    slots: Vec<Slot>,
}

/// The place of a word that is short enough to be remembered.
pub(crate) struct Place {
    key: [u8; LONGEST_KEY + 1],
    index: usize,
}

impl WordCache {
    pub fn new() -> Self {
        Self { slots: vec![Slot { key: [0; LONGEST_KEY + 1], ids: [NO_ID; MOST_IDS] }; SLOTS] }
    }

    /// Where a word of 1 to 15 bytes belongs.
    pub fn place(word: &[u8]) -> Option<Place> {
        if word.is_empty() || word.len() > LONGEST_KEY {
            return None;
        }
        let mut key = [0; LONGEST_KEY + 1];
        key[..word.len()].copy_from_slice(word);
        key[LONGEST_KEY] = word.len() as u8;
        let packed = u128::from_le_bytes(key);
        let mut hasher = FastHasher::default();
        hasher.write_u64(packed as u64);
        hasher.write_u64((packed >> 64) as u64);
        Some(Place { key, index: (hasher.finish() >> 32) as usize % SLOTS })
    }

    /// Appends the remembered ids; false where the word is not remembered.
    pub fn append(&self, place: &Place, out: &mut Vec<u32>) -> bool {
        let slot = &self.slots[place.index];
        if slot.key != place.key {
            return false;
        }
        out.extend(slot.ids.iter().take_while(|&&id| id != NO_ID));
        true
    }

    /// Remembers the ids of a word, unless there are too many.
    pub fn remember(&mut self, place: &Place, ids: &[u32]) {
        if ids.len() <= MOST_IDS {
            let slot = &mut self.slots[place.index];
            slot.key = place.key;
            slot.ids = [NO_ID; MOST_IDS];
            slot.ids[..ids.len()].copy_from_slice(ids);
        }
    }
}
