//! A byte trie in a double array: one look-up in a table of eight bytes a node per byte of the key.

/// Most keys of a trie.
pub(crate) const MOST_KEYS: usize = NO_VALUE as usize;

const LABEL_BITS: u32 = 9;
const LABELS: u32 = (1 << LABEL_BITS) - 1;
/// Of a free unit, and of the root, which no byte leads to.
const NO_LABEL: u32 = 256;
const NO_VALUE: u32 = u32::MAX >> LABEL_BITS;
/// A block of units, within which all children of a node lie.
const BLOCK: usize = 256;
/// The first block has no children, so that a leaf may point there.
const NO_CHILDREN: u32 = 0;
const ROOT: u32 = 0;

/// A child lies at its parent's `base` XOR its byte. No two parents have one base, so the byte alone tells whose child it is.
#[derive(Clone, Copy)]
struct Unit {
    base: u32,
    /// The byte that leads here in the low bits, the number of the value above them.
    tail: u32,
}

const FREE: Unit = Unit { base: NO_CHILDREN, tail: NO_VALUE << LABEL_BITS | NO_LABEL };

impl Unit {
    fn is_free(self) -> bool {
        self.tail & LABELS == NO_LABEL
    }
}

/// Maps byte strings to values.
pub(crate) struct Trie<V> {
    units: Vec<Unit>,
    values: Vec<V>,
}

/// Keys that share their first `depth` bytes, and the node that stands for these.
struct Pending {
    node: u32,
    first: usize,
    last: usize,
    depth: usize,
}

/// What is known while units are handed out.
struct Places {
    /// Whether a base is some node's.
    taken: Vec<bool>,
    /// There is hardly a free unit before this one.
    from: usize,
}

impl<V: Copy> Trie<V> {
    /// Builds the trie of at most [`MOST_KEYS`] keys; of equal keys the last counts, and the empty key is left out.
    pub fn build<'a>(keys: impl IntoIterator<Item = (&'a [u8], V)>) -> Self {
        let mut keys: Vec<(&[u8], V)> = keys.into_iter().filter(|(key, _)| !key.is_empty()).collect();
        keys.sort_by(|a, b| a.0.cmp(b.0));
        let mut trie = Self { units: vec![FREE; BLOCK], values: Vec::new() };
        let mut places = Places { taken: vec![true; BLOCK], from: BLOCK };
        let mut pending = vec![Pending { node: ROOT, first: 0, last: keys.len(), depth: 0 }];
        while let Some(group) = pending.pop() {
            trie.place(&keys, &group, &mut places, &mut pending);
        }
        trie
    }

    fn place(
        &mut self,
        keys: &[(&[u8], V)],
        group: &Pending,
        places: &mut Places,
        pending: &mut Vec<Pending>,
    ) {
        let mut first = group.first;
        while first < group.last && keys[first].0.len() == group.depth {
            let unit = &mut self.units[group.node as usize];
            unit.tail = unit.tail & LABELS | (self.values.len() as u32) << LABEL_BITS;
            first += 1;
        }
        if first > group.first {
            self.values.push(keys[first - 1].1);
        }
        let mut children: Vec<(u8, usize, usize)> = Vec::new();
        for (index, (key, _)) in keys.iter().enumerate().take(group.last).skip(first) {
            match children.last_mut() {
                Some((byte, _, last)) if *byte == key[group.depth] => *last = index + 1,
                _ => children.push((key[group.depth], index, index + 1)),
            }
        }
        if children.is_empty() {
            return;
        }
        let base = self.free_base(&children, places);
        places.taken[base] = true;
        self.units[group.node as usize].base = base as u32;
        for (byte, first, last) in children {
            let node = base ^ usize::from(byte);
            self.units[node].tail = NO_VALUE << LABEL_BITS | u32::from(byte);
            pending.push(Pending { node: node as u32, first, last, depth: group.depth + 1 });
        }
    }

    /// The base of no other node at which every child finds its place free.
    fn free_base(&mut self, children: &[(u8, usize, usize)], places: &mut Places) -> usize {
        while self.units.get(places.from).is_some_and(|unit| !unit.is_free()) {
            places.from += 1;
        }
        let mut slot = places.from;
        let mut tried = 0;
        loop {
            if slot >= self.units.len() {
                self.units.resize(self.units.len() + BLOCK, FREE);
                places.taken.resize(self.units.len(), false);
            }
            let base = slot ^ usize::from(children[0].0);
            let is_free = |&(byte, ..): &(u8, usize, usize)| self.units[base ^ usize::from(byte)].is_free();
            if !places.taken[base] && children.iter().all(is_free) {
                return base;
            }
            slot += 1;
            tried += 1;
            if tried % 4096 == 0 {
                places.from = slot;
            }
        }
    }

    fn child(&self, node: Unit, byte: u8) -> Option<Unit> {
        let next = self.units.get((node.base ^ u32::from(byte)) as usize)?;
        (next.tail & LABELS == u32::from(byte)).then_some(*next)
    }

    fn value(&self, node: Unit) -> Option<V> {
        self.values.get((node.tail >> LABEL_BITS) as usize).copied()
    }

    /// The value of exactly this key.
    pub fn get(&self, key: &[u8]) -> Option<V> {
        let root = self.units[ROOT as usize];
        let node = key.iter().try_fold(root, |node, &byte| self.child(node, byte))?;
        self.value(node)
    }

    /// Length and value of the longest key that `text` begins with.
    pub fn longest_prefix(&self, text: &[u8]) -> Option<(usize, V)> {
        let mut node = self.units[ROOT as usize];
        let mut best = None;
        for (&byte, len) in text.iter().zip(1..) {
            let Some(next) = self.child(node, byte) else { break };
            node = next;
            if node.tail >> LABEL_BITS != NO_VALUE {
                best = Some((len, node));
            }
        }
        best.and_then(|(len, node)| Some((len, self.value(node)?)))
    }

    /// Calls `found` with length and value of each key that `text` begins with, shortest first.
    #[inline]
    pub fn each_prefix(&self, text: &[u8], mut found: impl FnMut(usize, V)) {
        let mut node = self.units[ROOT as usize];
        for (&byte, len) in text.iter().zip(1..) {
            let Some(next) = self.child(node, byte) else { return };
            node = next;
            if let Some(value) = self.value(node) {
                found(len, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_finds_what_an_ordered_map_finds(
            keys in proptest::collection::btree_map(
                proptest::collection::vec(prop_oneof![Just(0u8), Just(255u8), 97u8..101], 0..6), 0u32..9, 0..60),
            text in proptest::collection::vec(prop_oneof![Just(0u8), Just(255u8), 97u8..101], 0..8),
        ) {
            let trie = Trie::build(keys.iter().map(|(k, &v)| (k.as_slice(), v)));
            let keys: BTreeMap<_, _> = keys.into_iter().filter(|(k, _)| !k.is_empty()).collect();
            prop_assert_eq!(trie.get(&text), keys.get(&text).copied());
            let longest = (1..=text.len()).rev().find_map(|n| keys.get(&text[..n]).map(|&v| (n, v)));
            prop_assert_eq!(trie.longest_prefix(&text), longest);
        }
    }
}
