//! The merging of a word's symbols: a scan for short words, a heap for long ones.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::json::Field;
use super::vocabulary::Vocabulary;
use crate::error::Result;
use crate::hash::FastMap;

/// Words of more symbols use the heap: the scan takes quadratic time.
const LONGEST_SCAN: usize = 24;
const NONE: u32 = u32::MAX;
const NO_MERGE: (u32, u32) = (NONE, NONE);

/// Pair of ids to rank and merged id.
pub(crate) struct Merges {
    table: FastMap<u64, (u32, u32)>,
}

/// Buffers kept from word to word.
#[derive(Default)]
pub(crate) struct MergeScratch {
    pairs: Vec<(u32, u32)>,
    links: Vec<Link>,
    heap: BinaryHeap<Reverse<(u32, u32, u32)>>,
}

/// A symbol in a doubly linked list over the word; [`NONE`] marks its ends and, as id, a symbol merged away.
#[derive(Clone, Copy)]
struct Link {
    id: u32,
    previous: u32,
    next: u32,
}

fn key(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// Both parts of a merge, written as `"a b"` or as `["a", "b"]`.
fn parts<'a>(entry: &Field<'a>) -> Result<(&'a str, &'a str)> {
    if let Some(text) = entry.value.as_str() {
        let parts = text.split_once(' ').filter(|(_, right)| !right.contains(' '));
        return parts.ok_or_else(|| entry.wrong("two tokens with a space between them"));
    }
    match entry.items()?.as_slice() {
        [left, right] => Ok((left.string()?, right.string()?)),
        _ => Err(entry.wrong("two tokens")),
    }
}

impl Merges {
    pub fn read(field: &Field<'_>, vocabulary: &Vocabulary) -> Result<Self> {
        let mut table = FastMap::default();
        let is_text =
            |entry: &&Field<'_>| !entry.value.as_str().is_some_and(|text| text.starts_with("#version"));
        for (rank, entry) in field.items()?.iter().filter(is_text).enumerate() {
            let (left, right) = parts(entry)?;
            let id = |token: &str| {
                vocabulary.get(token).copied().ok_or_else(|| entry.wrong("made of tokens in model.vocab"))
            };
            table.insert(key(id(left)?, id(right)?), (rank as u32, id(&format!("{left}{right}"))?));
        }
        Ok(Self { table })
    }

    fn of(&self, left: u32, right: u32) -> (u32, u32) {
        self.table.get(&key(left, right)).copied().unwrap_or(NO_MERGE)
    }

    /// Merges the symbols of `out` from `start` on, in place.
    pub fn apply(&self, start: usize, scratch: &mut MergeScratch, out: &mut Vec<u32>) {
        if out.len() - start <= LONGEST_SCAN {
            self.scan(start, scratch, out);
        } else {
            self.by_heap(start, scratch, out);
        }
    }

    fn scan(&self, start: usize, scratch: &mut MergeScratch, out: &mut Vec<u32>) {
        let pairs = &mut scratch.pairs;
        pairs.clear();
        pairs.extend(out[start..].windows(2).map(|pair| self.of(pair[0], pair[1])));
        while let Some((at, &(rank, id))) = pairs.iter().enumerate().min_by_key(|(_, pair)| pair.0) {
            if rank == NONE {
                return;
            }
            out[start + at] = id;
            out.remove(start + at + 1);
            pairs.remove(at);
            if at > 0 {
                pairs[at - 1] = self.of(out[start + at - 1], id);
            }
            if at < pairs.len() {
                pairs[at] = self.of(id, out[start + at + 1]);
            }
        }
    }

    fn by_heap(&self, start: usize, scratch: &mut MergeScratch, out: &mut Vec<u32>) {
        let MergeScratch { links, heap, .. } = scratch;
        link(&out[start..], links);
        heap.clear();
        for at in 1..links.len() {
            self.offer(links, at as u32 - 1, heap);
        }
        while let Some(Reverse((_, at, id))) = heap.pop() {
            let Link { id: left, next, .. } = links[at as usize];
            if left == NONE || next == NONE || self.of(left, links[next as usize].id).1 != id {
                continue;
            }
            let after = links[next as usize].next;
            links[at as usize].id = id;
            links[at as usize].next = after;
            links[next as usize].id = NONE;
            if after != NONE {
                links[after as usize].previous = at;
            }
            let previous = links[at as usize].previous;
            if previous != NONE {
                self.offer(links, previous, heap);
            }
            self.offer(links, at, heap);
        }
        out.truncate(start);
        out.extend(links.iter().map(|link| link.id).filter(|&id| id != NONE));
    }

    /// Adds the merge of the symbol at `at` with the one after it.
    fn offer(&self, links: &[Link], at: u32, heap: &mut BinaryHeap<Reverse<(u32, u32, u32)>>) {
        let Link { id, next, .. } = links[at as usize];
        if next != NONE {
            let (rank, merged) = self.of(id, links[next as usize].id);
            if rank != NONE {
                heap.push(Reverse((rank, at, merged)));
            }
        }
    }
}

fn link(ids: &[u32], links: &mut Vec<Link>) {
    let last = ids.len() as u32 - 1;
    links.clear();
    links.extend((0..).zip(ids).map(|(at, &id)| Link {
        id,
        previous: if at == 0 { NONE } else { at - 1 },
        next: if at == last { NONE } else { at + 1 },
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_heap_and_the_scan_agree(
            pairs in proptest::collection::btree_set((0u32..6, 0u32..6), 0..20),
            ids in proptest::collection::vec(0u32..3, 1..40),
        ) {
            let table = (0..).zip(&pairs).map(|(rank, &(a, b))| (key(a, b), (rank, 3 + rank))).collect();
            let merges = Merges { table };
            let (mut by_scan, mut by_heap) = (ids.clone(), ids);
            merges.scan(0, &mut MergeScratch::default(), &mut by_scan);
            merges.by_heap(0, &mut MergeScratch::default(), &mut by_heap);
            prop_assert_eq!(by_scan, by_heap);
        }
    }
}
