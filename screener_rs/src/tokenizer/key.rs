//! A short word packed into 16 bytes, by which tables find it.

use super::block::{BLOCK, WINDOW};

/// Longest word that has a key, in bytes; a leading `▁` does not count.
pub(crate) const LONGEST: usize = 15;

/// SentencePiece's mark for a space.
pub(crate) const MARK: &str = "▁";
const MARKED: u64 = 0x40 << 56;

/// The bytes, then zeros, and in the last byte their number and whether a `▁` stands before them: no two words share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key {
    low: u64,
    high: u64,
}

const fn masks() -> [(u64, u64); 16] {
    let mut masks = [(0, 0); 16];
    let mut len = 0;
    while len < 16 {
        let mask = (1u128 << (8 * len)) - 1;
        masks[len] = (mask as u64, (mask >> 64) as u64);
        len += 1;
    }
    masks
}

const MASKS: [(u64, u64); 16] = masks();
const CASE: u64 = 0x4040_4040_4040_4040;

impl Key {
    /// That of a word, if it is short enough.
    pub fn of(word: &[u8]) -> Option<Self> {
        let (bytes, mark) = match word.strip_prefix(MARK.as_bytes()) {
            Some(rest) => (rest, MARKED),
            None => (word, 0),
        };
        let mut padded = [0; 16];
        padded.get_mut(..bytes.len()).filter(|_| bytes.len() <= LONGEST)?.copy_from_slice(bytes);
        let (low, high) = halves(&padded);
        Some(Self { low, high: high | (bytes.len() as u64) << 56 | mark })
    }

    /// That of the bytes of a window from `start`, 1 to 15 of them, `start` below 64, no `▁` among them.
    #[inline(always)]
    pub fn of_window(window: &[u8; WINDOW], start: usize, len: usize) -> Self {
        let (low, high) = halves_at(window, start);
        let (keep_low, keep_high) = MASKS[len & LONGEST];
        Self { low: low & keep_low, high: high & keep_high | (len as u64) << 56 }
    }

    /// The same as if ASCII capitals were small letters, if there are letters and digits only.
    #[inline(always)]
    pub fn of_lowercased(window: &[u8; WINDOW], start: usize, len: usize, letters_only: bool) -> Self {
        let (low, high) = halves_at(window, start);
        let (keep_low, keep_high) = MASKS[len & LONGEST];
        let fold = if letters_only { CASE } else { 0 };
        let (low, high) = (low | (low & fold) >> 1, high | (high & fold) >> 1);
        Self { low: low & keep_low, high: high & keep_high | (len as u64) << 56 }
    }

    /// The same word with a `▁` before it.
    #[inline(always)]
    pub fn marked(self) -> Self {
        Self { high: self.high | MARKED, ..self }
    }

    /// No word has the key that is all zeros.
    #[inline(always)]
    fn hash(self) -> u64 {
        const LOW: u64 = 0x9E37_79B9_7F4A_7C15;
        const HIGH: u64 = 0xD1B5_4A32_D192_ED03;
        let product = u128::from(self.low ^ LOW) * u128::from(self.high ^ HIGH);
        (product >> 64) as u64 ^ product as u64
    }
}

#[inline(always)]
fn halves(bytes: &[u8; 16]) -> (u64, u64) {
    let all = u128::from_le_bytes(*bytes);
    (all as u64, (all >> 64) as u64)
}

#[inline(always)]
fn halves_at(window: &[u8; WINDOW], start: usize) -> (u64, u64) {
    let mut bytes = [0; 16];
    let start = start & 63;
    bytes.copy_from_slice(&window[start..start + 16]);
    halves(&bytes)
}

/// Words of which it is known when the tokenizer is loaded that they are one token.
///
/// Three to a cache line. A word that finds its line full is left out, and computed whenever it is met.
#[derive(Default)]
pub(crate) struct WholeWords {
    lines: Vec<Line>,
}

#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line {
    keys: [Key; 3],
    ids: [u32; 3],
}

impl WholeWords {
    /// A table for so many words: at most three in four lines are used, so that few words find theirs full.
    pub fn with_capacity(words: usize) -> Self {
        Self { lines: vec![Line::default(); words / 4 * 3 + 16] }
    }

    pub fn insert(&mut self, key: Key, id: u32) {
        let at = self.place(key);
        if let Some(free) = self.lines[at].keys.iter().position(|&taken| taken == Key::default()) {
            self.lines[at].keys[free] = key;
            self.lines[at].ids[free] = id;
        }
    }

    #[inline(always)]
    fn place(&self, key: Key) -> usize {
        (((key.hash() >> 32) * self.lines.len() as u64) >> 32) as usize
    }

    /// The id of a word, or [`NO_ID`]. Without a branch: the next words are looked up while this one's line is fetched.
    #[inline(always)]
    pub fn find(&self, key: Key) -> u32 {
        let Some(line) = self.lines.get(self.place(key)) else { return NO_ID };
        let id = |at: usize| {
            let Key { low, high } = line.keys[at];
            let differs = (low ^ key.low) | (high ^ key.high);
            line.ids[at] | if differs == 0 { 0 } else { NO_ID }
        };
        // Ids are below 2^31, so that of a key that fits is the only one that is not all ones.
        id(0) & id(1) & id(2)
    }

    pub fn get(&self, key: Key) -> Option<u32> {
        Some(self.find(key)).filter(|&id| id != NO_ID)
    }
}

/// The words of a block with their ids, as far as the table knows them.
pub(crate) struct Looked {
    count: usize,
    places: [(u8, u8); BLOCK],
    ids: [u32; BLOCK],
}

impl Looked {
    pub fn new() -> Self {
        Self { count: 0, places: [(0, 0); BLOCK], ids: [0; BLOCK] }
    }

    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// Looks up one more word of a block, of which there are 64 at most.
    #[inline(always)]
    pub fn add(&mut self, table: &WholeWords, key: Key, start: usize, len: usize) {
        let at = self.count % BLOCK;
        self.count += 1;
        self.places[at] = (start as u8, len as u8);
        self.ids[at] = table.find(key) | if len > LONGEST { NO_ID } else { 0 };
    }

    /// All words in order: where each starts and ends, and its id or [`NO_ID`].
    #[inline(always)]
    pub fn words(&self) -> impl Iterator<Item = (usize, usize, u32)> + '_ {
        let words = self.places.iter().zip(&self.ids).take(self.count);
        words.map(|(&(start, len), &id)| (usize::from(start), usize::from(start) + usize::from(len), id))
    }
}

const SLOTS: usize = 1 << 12;
const MOST_IDS: usize = 4;
/// No id: all are below 2^31.
pub(crate) const NO_ID: u32 = u32::MAX;

/// Half a cache line: a word, and its ids up to the first [`NO_ID`].
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Slot {
    key: Key,
    ids: [u32; MOST_IDS],
}

/// Remembers the ids of words of several tokens. A word's ids depend on the word alone, so no result can change.
///
/// A fixed number of slots, each overwritten by the next word that falls on it.
pub(crate) struct WordCache {
    slots: Vec<Slot>,
}

impl WordCache {
    pub fn new() -> Self {
        Self { slots: vec![Slot { key: Key::default(), ids: [NO_ID; MOST_IDS] }; SLOTS] }
    }

    #[inline(always)]
    fn place(key: Key) -> usize {
        (key.hash() >> 32) as usize % SLOTS
    }

    /// Appends the remembered ids; false where the word is not remembered.
    pub fn append(&self, key: Key, out: &mut Vec<u32>) -> bool {
        let slot = &self.slots[Self::place(key)];
        if slot.key != key {
            return false;
        }
        out.extend(slot.ids.iter().take_while(|&&id| id != NO_ID));
        true
    }

    /// Remembers the ids of a word, unless there are too many.
    pub fn remember(&mut self, key: Key, ids: &[u32]) {
        if ids.len() <= MOST_IDS {
            let slot = &mut self.slots[Self::place(key)];
            slot.key = key;
            slot.ids = [NO_ID; MOST_IDS];
            slot.ids[..ids.len()].copy_from_slice(ids);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(text: &[u8]) -> [u8; WINDOW] {
        let mut window = [0; WINDOW];
        window[..text.len()].copy_from_slice(text);
        window
    }

    #[test]
    fn a_zero_byte_and_a_mark_tell_words_apart() {
        let words = ["a", "a\0", "▁a", "▁", "a▁", "▁▁a"];
        let keys: Vec<_> = words.iter().map(|word| Key::of(word.as_bytes()).unwrap()).collect();
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().position(|other| other == key), Some(at));
            assert_ne!(*key, Key::default());
        }
        assert_eq!(Key::of("a".as_bytes()).unwrap().marked(), Key::of("▁a".as_bytes()).unwrap());
        assert_eq!(Key::of(&[b'x'; 16]), None);
    }

    proptest! {
        #[test]
        fn a_key_cut_from_a_window_is_that_of_the_word(text in "[ -~]{80}", start in 0usize..64, len in 1usize..16) {
            let word = &text.as_bytes()[start..start + len];
            let window = window(text.as_bytes());
            prop_assert_eq!(Some(Key::of_window(&window, start, len)), Key::of(word));
            let letters = word.iter().all(u8::is_ascii_alphanumeric);
            let expected = if letters { word.to_ascii_lowercase() } else { word.to_vec() };
            prop_assert_eq!(Some(Key::of_lowercased(&window, start, len, letters)), Key::of(&expected));
        }

        #[test]
        fn a_word_is_found_with_its_own_id_or_not_at_all(
            words in proptest::collection::btree_map("[a-d]{1,3}", 0u32..99, 1..80),
            other in "[a-d]{1,4}",
        ) {
            let mut table = WholeWords::with_capacity(words.len());
            for (word, &id) in &words {
                table.insert(Key::of(word.as_bytes()).unwrap(), id);
            }
            let found = table.get(Key::of(other.as_bytes()).unwrap());
            prop_assert!(found.is_none() || found == words.get(&other).copied());
        }
    }
}
