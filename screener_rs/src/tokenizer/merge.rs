//! The merging of a word's symbols: a scan for short words, a heap for long ones, a list for each rank for huge ones.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::hash_map::Entry;

use super::json::Field;
use super::vocabulary::Vocabulary;
use crate::error::Result;
use crate::hash::FastMap;

/// Words of more symbols use the heap: the scan takes quadratic time.
const LONGEST_SCAN: usize = 24;
/// Words of more symbols use a list for each rank where they can: a heap of millions is hardly ever where the cache is.
const LONGEST_HEAP: usize = 4096;
const NONE: u32 = u32::MAX;
const NO_MERGE: (u32, u32) = (NONE, NONE);

/// Pair of ids to rank and merged id.
pub(crate) struct Merges {
    table: FastMap<u64, (u32, u32)>,
    /// Whether every token is made before it is a part, as in every file that was learnt: a merge offers later ones only.
    is_ordered: bool,
}

/// Buffers kept from word to word.
#[derive(Default)]
pub(crate) struct MergeScratch {
    pairs: Vec<(u32, u32)>,
    links: Vec<Link>,
    heap: BinaryHeap<Reverse<(u32, u32, u32)>>,
    ranks: Ranks,
}

/// Places by the rank of the merge that is offered there.
#[derive(Default)]
struct Ranks {
    places: FastMap<u32, Vec<u32>>,
    /// Those with places, the lowest first.
    waiting: BinaryHeap<Reverse<u32>>,
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
        Ok(Self::of_table(table))
    }

    fn of_table(table: FastMap<u64, (u32, u32)>) -> Self {
        let mut made: FastMap<u32, u32> = FastMap::default();
        for &(rank, id) in table.values() {
            made.entry(id).and_modify(|last| *last = rank.max(*last)).or_insert(rank);
        }
        let comes_after = |part: u32, rank: u32| made.get(&part).is_none_or(|&made| made < rank);
        let is_ordered = table.iter().all(|(&pair, &(rank, _))| {
            comes_after((pair >> 32) as u32, rank) && comes_after(pair as u32, rank)
        });
        Self { table, is_ordered }
    }

    fn of(&self, left: u32, right: u32) -> (u32, u32) {
        self.table.get(&key(left, right)).copied().unwrap_or(NO_MERGE)
    }

    /// Merges the symbols of `out` from `start` on, in place.
    pub fn apply(&self, start: usize, scratch: &mut MergeScratch, out: &mut Vec<u32>) {
        if out.len() - start <= LONGEST_SCAN {
            self.scan(start, scratch, out);
        } else if self.is_ordered && out.len() - start > LONGEST_HEAP {
            self.by_ranks(start, scratch, out);
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
            join(links, at, id);
            let previous = links[at as usize].previous;
            if previous != NONE {
                self.offer(links, previous, heap);
            }
            self.offer(links, at, heap);
        }
        out.truncate(start);
        out.extend(links.iter().map(|link| link.id).filter(|&id| id != NONE));
    }

    /// The same for an ordered table: a rank's places are all known when its turn comes, and one sweep over them is enough.
    fn by_ranks(&self, start: usize, scratch: &mut MergeScratch, out: &mut Vec<u32>) {
        let MergeScratch { links, ranks, .. } = scratch;
        link(&out[start..], links);
        for at in 1..links.len() {
            self.list(links, at as u32 - 1, ranks);
        }
        while let Some(Reverse(rank)) = ranks.waiting.pop() {
            let mut places = ranks.places.remove(&rank).unwrap_or_default();
            // Runs that ascend, one for each rank that offered some.
            places.sort();
            for at in places {
                let Link { id: left, next, .. } = links[at as usize];
                if left == NONE || next == NONE {
                    continue;
                }
                let (found, id) = self.of(left, links[next as usize].id);
                if found != rank {
                    continue;
                }
                join(links, at, id);
                let previous = links[at as usize].previous;
                if previous != NONE {
                    self.list(links, previous, ranks);
                }
                self.list(links, at, ranks);
            }
        }
        out.truncate(start);
        out.extend(links.iter().map(|link| link.id).filter(|&id| id != NONE));
    }

    /// Lists the merge of the symbol at `at` with the one after it.
    fn list(&self, links: &[Link], at: u32, ranks: &mut Ranks) {
        let Link { id, next, .. } = links[at as usize];
        if next == NONE {
            return;
        }
        let (rank, _) = self.of(id, links[next as usize].id);
        if rank == NONE {
            return;
        }
        match ranks.places.entry(rank) {
            Entry::Occupied(mut listed) => listed.get_mut().push(at),
            Entry::Vacant(free) => {
                free.insert(vec![at]);
                ranks.waiting.push(Reverse(rank));
            }
        }
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

/// Merges the symbol at `at` with the one after it.
fn join(links: &mut [Link], at: u32, id: u32) {
    let next = links[at as usize].next;
    let after = links[next as usize].next;
    links[at as usize].id = id;
    links[at as usize].next = after;
    links[next as usize].id = NONE;
    if after != NONE {
        links[after as usize].previous = at;
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
            let merges = Merges::of_table(table);
            let (mut by_scan, mut by_heap) = (ids.clone(), ids);
            merges.scan(0, &mut MergeScratch::default(), &mut by_scan);
            merges.by_heap(0, &mut MergeScratch::default(), &mut by_heap);
            prop_assert_eq!(by_scan, by_heap);
        }

        #[test]
        fn the_lists_and_the_scan_agree(
            parts in proptest::collection::vec((0usize..99, 0usize..99), 0..20),
            ids in proptest::collection::vec(0u32..3, 1..60),
        ) {
            // Each merge makes a token of those that are there.
            let mut table = FastMap::default();
            for (rank, (left, right)) in (0..).zip(parts) {
                let (left, right) = (left as u32 % (3 + rank), right as u32 % (3 + rank));
                table.entry(key(left, right)).or_insert((rank, 3 + rank));
            }
            let merges = Merges::of_table(table);
            prop_assert!(merges.is_ordered);
            let (mut by_scan, mut by_ranks) = (ids.clone(), ids);
            merges.scan(0, &mut MergeScratch::default(), &mut by_scan);
            merges.by_ranks(0, &mut MergeScratch::default(), &mut by_ranks);
            prop_assert_eq!(by_scan, by_ranks);
        }
    }

    #[test]
    fn a_token_that_is_a_part_before_it_is_made_spoils_the_order() {
        let merges = |entries: &[(u32, u32, u32)]| {
            let table = (0..).zip(entries).map(|(rank, &(a, b, id))| (key(a, b), (rank, id)));
            Merges::of_table(table.collect())
        };
        assert!(merges(&[(0, 1, 5), (5, 1, 6)]).is_ordered);
        assert!(!merges(&[(5, 1, 6), (0, 1, 5)]).is_ordered);
        // Made in two ways, once too late.
        assert!(!merges(&[(0, 1, 5), (5, 1, 6), (1, 1, 5)]).is_ordered);
    }
}
