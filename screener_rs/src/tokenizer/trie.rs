//! A byte trie in a double array: one table look-up per byte of the key.

const FREE: u32 = u32::MAX;
const ROOT: u32 = 0;

/// `base` of a node points at its children, `check` of a child back at its parent, `value` of a key's last node is
/// its value or [`FREE`].
#[derive(Clone, Copy)]
struct Unit {
    base: u32,
    check: u32,
    value: u32,
}

/// Maps byte strings to values below 2^32 - 1.
pub(crate) struct Trie {
    units: Vec<Unit>,
}

/// Keys that share their first `depth` bytes, and the node that stands for these.
struct Pending {
    node: u32,
    first: usize,
    last: usize,
    depth: usize,
}

impl Trie {
    /// Builds the trie; of equal keys the last counts, and the empty key is left out.
    pub fn build<'a>(keys: impl IntoIterator<Item = (&'a [u8], u32)>) -> Self {
        let mut keys: Vec<(&[u8], u32)> = keys.into_iter().filter(|(key, _)| !key.is_empty()).collect();
        keys.sort_by(|a, b| a.0.cmp(b.0));
        let mut trie = Self { units: vec![Unit { base: 0, check: ROOT, value: FREE }] };
        let mut search_from = 1;
        let mut pending = vec![Pending { node: ROOT, first: 0, last: keys.len(), depth: 0 }];
        while let Some(group) = pending.pop() {
            trie.place(&keys, &group, &mut search_from, &mut pending);
        }
        trie
    }

    fn place(
        &mut self,
        keys: &[(&[u8], u32)],
        group: &Pending,
        from: &mut usize,
        pending: &mut Vec<Pending>,
    ) {
        let mut first = group.first;
        while first < group.last && keys[first].0.len() == group.depth {
            self.units[group.node as usize].value = keys[first].1;
            first += 1;
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
        let base = self.free_base(&children, from);
        self.units[group.node as usize].base = base as u32;
        for (byte, first, last) in children {
            let node = (base + usize::from(byte)) as u32;
            self.units[node as usize].check = group.node;
            pending.push(Pending { node, first, last, depth: group.depth + 1 });
        }
    }

    /// The least base at which every child finds its place free.
    fn free_base(&mut self, children: &[(u8, usize, usize)], from: &mut usize) -> usize {
        let lowest = usize::from(children[0].0);
        while self.units.get(*from).is_some_and(|unit| unit.check != FREE) {
            *from += 1;
        }
        let mut slot = (*from).max(lowest + 1);
        let mut tried = 0;
        loop {
            let base = slot - lowest;
            self.grow(base + 256);
            if children.iter().all(|&(byte, ..)| self.units[base + usize::from(byte)].check == FREE) {
                return base;
            }
            slot += 1;
            tried += 1;
            if tried % 4096 == 0 {
                *from = slot;
            }
        }
    }

    fn grow(&mut self, len: usize) {
        if self.units.len() < len {
            self.units.resize(len, Unit { base: 0, check: FREE, value: FREE });
        }
    }

    fn child(&self, node: u32, byte: u8) -> Option<u32> {
        let parent = &self.units[node as usize];
        if parent.base == 0 {
            return None;
        }
        let next = parent.base + u32::from(byte);
        (self.units.get(next as usize)?.check == node).then_some(next)
    }

    fn value(&self, node: u32) -> Option<u32> {
        Some(self.units[node as usize].value).filter(|&value| value != FREE)
    }

    /// The value of exactly this key.
    pub fn get(&self, key: &[u8]) -> Option<u32> {
        let node = key.iter().try_fold(ROOT, |node, &byte| self.child(node, byte))?;
        self.value(node)
    }

    /// Length and value of the longest key that `text` begins with.
    pub fn longest_prefix(&self, text: &[u8]) -> Option<(usize, u32)> {
        let mut best = None;
        self.each_prefix(text, |len, value| best = Some((len, value)));
        best
    }

    /// Calls `found` with length and value of each key that `text` begins with, shortest first.
    pub fn each_prefix(&self, text: &[u8], mut found: impl FnMut(usize, u32)) {
        let mut node = ROOT;
        for (index, &byte) in text.iter().enumerate() {
            let Some(next) = self.child(node, byte) else { return };
            node = next;
            if let Some(value) = self.value(node) {
                found(index + 1, value);
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
