//! Many texts to batches of token ids: sorted by length, cut by a budget of padded tokens.

mod pairs;

use std::sync::{Mutex, TryLockError};

use crate::error::{Error, Result};
use crate::parallel::{self, Workers};
use crate::tokenizer::{PostProcessor, Scratch, Side, Tokenizer};

pub use pairs::PairRows;

/// Scratch states kept for later calls; more than a machine has cores are of no use.
const MOST_KEPT: usize = 64;

/// Rows of at most so many tokens are sorted by counting.
const LONGEST_COUNTED: usize = 1 << 14;

/// Settings of an [`Encoder`] that win over those in the tokenizer's file.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Most tokens of a row, special tokens included; none: rows are never cut.
    pub max_length: Option<usize>,
    /// Which end is cut; none: as the file says.
    pub truncation_side: Option<Side>,
    /// The id that fills up short rows; none: as the file says.
    pub pad_token_id: Option<u32>,
}

/// A tokenizer with its truncation and padding, shared between threads.
pub struct Encoder {
    tokenizer: Tokenizer,
    max_length: Option<usize>,
    truncation_side: Side,
    padding_id: Option<u32>,
    kept: Mutex<Vec<Scratch>>,
}

/// Ids of several texts, one after the other.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rows {
    /// All ids.
    pub ids: Vec<i32>,
    /// Where each row starts, and where the last one ends: one more than there are rows.
    pub offsets: Vec<usize>,
}

/// Rows of like length, filled up to the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Row after row, each `width` long.
    pub input_ids: Vec<i32>,
    /// Tokens of each row without padding.
    pub lengths: Vec<i32>,
    /// The place of each row in the caller's list.
    pub permutation: Vec<i32>,
    /// Tokens of the longest row.
    pub width: usize,
}

/// How large a batch may be.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Most tokens of a batch, padding included; a longer row is a batch of its own.
    pub max_tokens: usize,
    /// Most rows of a batch.
    pub max_rows: usize,
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    pub(crate) fn row(&self, index: usize) -> &[i32] {
        &self.ids[self.offsets[index]..self.offsets[index + 1]]
    }

    pub(crate) fn length(&self, index: usize) -> usize {
        self.offsets[index + 1] - self.offsets[index]
    }

    /// All rows, the longest first; of one length in order. By counting, unless rows are very long.
    fn longest_first(&self) -> Vec<usize> {
        let lengths: Vec<usize> = (0..self.len()).map(|row| self.length(row)).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut order: Vec<usize> = (0..self.len()).collect();
        if longest > LONGEST_COUNTED {
            order.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
            return order;
        }
        let mut places = vec![0; longest + 1];
        for &length in &lengths {
            places[longest - length] += 1;
        }
        let mut taken = 0;
        for place in &mut places {
            taken += std::mem::replace(place, taken);
        }
        for (row, &length) in lengths.iter().enumerate() {
            let place = &mut places[longest - length];
            order[*place] = row;
            *place += 1;
        }
        order
    }
}

impl Encoder {
    /// Joins a tokenizer and its settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] where no text fits beside the special tokens.
    pub fn new(tokenizer: Tokenizer, settings: Settings) -> Result<Self> {
        let added = tokenizer.post_processor.added();
        if let Some(most) = settings.max_length.filter(|&most| most < added.max(1)) {
            let rule = format!("is less than 1 or than the {added} special tokens of a row");
            return Err(Error::invalid("max_length", most, rule));
        }
        settle_allocator();
        Ok(Self {
            max_length: settings.max_length,
            truncation_side: settings.truncation_side.unwrap_or(tokenizer.truncation_side()),
            padding_id: settings.pad_token_id.or(tokenizer.padding_id()),
            tokenizer,
            // Made now, so that the first call does not wait for it.
            kept: Mutex::new(vec![Scratch::default()]),
        })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Most tokens of a row.
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// Which end of a long text is cut off.
    pub fn truncation_side(&self) -> Side {
        self.truncation_side
    }

    /// The id that fills up short rows.
    pub fn padding_id(&self) -> Option<u32> {
        self.padding_id
    }

    /// Segment ids of a row of so many tokens.
    pub fn type_ids(&self, length: usize) -> impl Iterator<Item = i32> + '_ {
        let PostProcessor { before, after, type_id, .. } = &self.tokenizer.post_processor;
        let text = length.saturating_sub(before.len() + after.len());
        let ends = |side: &[(u32, i32)]| side.iter().map(|&(_, type_id)| type_id).collect::<Vec<_>>();
        ends(before).into_iter().chain(std::iter::repeat_n(*type_id, text)).chain(ends(after))
    }

    /// The ids of each text, special tokens included, in the callers' order.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn rows<S: AsRef<str> + Sync>(&self, texts: &[S], workers: Workers<'_>) -> Result<Rows> {
        let sizes = texts.iter().map(|text| text.as_ref().len());
        let parts = parallel::map_chunks(texts, sizes, workers, |chunk| {
            let mut scratch = self.take();
            let rows = self.encode_chunk(chunk, &mut scratch);
            self.put_back(scratch);
            rows
        })?;
        Ok(join(parts))
    }

    /// The ids in batches, the longest rows first; rows of one length keep the callers' order.
    ///
    /// # Errors
    /// [`Error::Invalid`] where rows must be filled up and no padding id is known.
    pub fn batches(&self, rows: &Rows, budget: Budget) -> Result<Vec<Batch>> {
        let order = rows.longest_first();
        let mut batches = Vec::new();
        let mut rest = order.as_slice();
        while let Some(&longest) = rest.first() {
            let width = rows.length(longest);
            let fitting = budget.max_tokens / width.max(1);
            let (taken, after) = rest.split_at(fitting.min(budget.max_rows).clamp(1, rest.len()));
            batches.push(self.batch(rows, taken, width)?);
            rest = after;
        }
        Ok(batches)
    }

    fn batch(&self, rows: &Rows, taken: &[usize], width: usize) -> Result<Batch> {
        let mut input_ids = Vec::with_capacity(taken.len() * width);
        for (at, &row) in taken.iter().enumerate() {
            input_ids.extend_from_slice(rows.row(row));
            let filled = (at + 1) * width;
            if input_ids.len() < filled {
                let id = self.padding_id.ok_or_else(|| {
                    Error::invalid(
                        "pad_token_id",
                        "none",
                        "is known: the tokenizer names no padding token, so pass one",
                    )
                })?;
                input_ids.resize(filled, id as i32);
            }
        }
        let lengths = taken.iter().map(|&row| rows.length(row) as i32).collect();
        let permutation = taken.iter().map(|&row| row as i32).collect();
        Ok(Batch { input_ids, lengths, permutation, width })
    }

    fn encode_chunk<S: AsRef<str>>(&self, texts: &[S], scratch: &mut Scratch) -> Rows {
        let PostProcessor { before, after, .. } = &self.tokenizer.post_processor;
        let room = self.max_length.map_or(usize::MAX, |most| most - before.len() - after.len());
        let most = if self.truncation_side == Side::Right { room } else { usize::MAX };
        let expected = |text: &S| (text.as_ref().len() / 3).min(room) + before.len() + after.len();
        let mut ids = Vec::with_capacity(texts.iter().map(expected).sum());
        let mut offsets = Vec::with_capacity(texts.len() + 1);
        offsets.push(0);
        for text in texts {
            ids.extend(before.iter().map(|&(id, _)| id));
            let start = ids.len();
            self.tokenizer.append_ids(text.as_ref(), most, scratch, &mut ids);
            let cut = (ids.len() - start).saturating_sub(room);
            if self.truncation_side == Side::Left {
                ids.copy_within(start + cut.., start);
            }
            ids.truncate(ids.len() - cut);
            ids.extend(after.iter().map(|&(id, _)| id));
            offsets.push(ids.len());
        }
        // Ids are below 2^31; the vector is turned over where it is.
        Rows { ids: ids.into_iter().map(|id: u32| id as i32).collect(), offsets }
    }

    /// A scratch state of an earlier call, or a new one: a lock held while the process forked must not block the child.
    fn take(&self) -> Scratch {
        let kept = match self.kept.try_lock() {
            Ok(mut kept) => kept.pop(),
            Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => None,
        };
        kept.unwrap_or_default()
    }

    fn put_back(&self, scratch: Scratch) {
        if let Ok(mut kept) = self.kept.try_lock()
            && kept.len() < MOST_KEPT
        {
            kept.push(scratch);
        }
    }
}

/// Asks for a few large blocks, and gives them back.
///
/// Reading a tokenizer's file frees some hundred thousand small blocks. glibc puts them in order when a large one is next
/// asked for: of the first call for 400 sentences that took 5 ms of 6.
fn settle_allocator() {
    let blocks: [Vec<u8>; 4] = std::array::from_fn(|at| Vec::with_capacity((64 + at) << 10));
    std::hint::black_box(blocks);
}

fn join(parts: Vec<Rows>) -> Rows {
    let mut parts = parts.into_iter();
    let mut all = parts.next().unwrap_or_else(|| Rows { ids: Vec::new(), offsets: vec![0] });
    for part in parts {
        let shift = all.ids.len();
        all.ids.extend_from_slice(&part.ids);
        all.offsets.extend(part.offsets.iter().skip(1).map(|offset| offset + shift));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: &str = r###"{"version": "1.0", "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 9,
                  "vocab": {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "a": 4, "##b": 5, "ab": 6, ",": 7}}}"###;

    fn encoder(max_length: Option<usize>, side: Option<Side>) -> Encoder {
        let tokenizer = Tokenizer::from_json(SMALL).unwrap();
        Encoder::new(tokenizer, Settings { max_length, truncation_side: side, pad_token_id: None }).unwrap()
    }

    fn ids(encoder: &Encoder, text: &str) -> Vec<i32> {
        encoder.rows(&[text], Workers::new(1)).unwrap().ids
    }

    #[test]
    fn the_longest_piece_counts_and_a_word_that_fails_is_unknown() {
        let encoder = encoder(None, None);
        assert_eq!(ids(&encoder, "Ab, abb ac"), [1, 6, 7, 6, 5, 3, 2]);
        assert_eq!(ids(&encoder, "abbbbbbbb abbbbbbbbb"), [1, 6, 5, 5, 5, 5, 5, 5, 5, 3, 2]);
    }

    #[test]
    fn truncation_counts_the_special_tokens() {
        assert_eq!(ids(&encoder(Some(4), None), "a ab , a"), [1, 4, 6, 2]);
        assert_eq!(ids(&encoder(Some(4), Some(Side::Left)), "a ab , a"), [1, 7, 4, 2]);
        assert_eq!(ids(&encoder(Some(2), None), "a"), [1, 2]);
    }

    #[test]
    fn a_length_without_room_for_the_special_tokens_is_refused() {
        let tokenizer = Tokenizer::from_json(SMALL).unwrap();
        let settings = Settings { max_length: Some(1), truncation_side: None, pad_token_id: None };
        assert_eq!(
            Encoder::new(tokenizer, settings).err().unwrap().to_string(),
            "max_length: 1 is less than 1 or than the 2 special tokens of a row"
        );
    }

    proptest! {
        #[test]
        fn batches_hold_every_row_once_within_the_budget(
            texts in proptest::collection::vec("[ab, é語]{0,20}", 0..30),
            max_tokens in 1usize..60,
            max_rows in 1usize..8,
            threads in 1usize..4,
        ) {
            let encoder = encoder(Some(12), None);
            let rows = encoder.rows(&texts, Workers::new(threads)).unwrap();
            let batches = encoder.batches(&rows, Budget { max_tokens, max_rows }).unwrap();
            let mut seen: Vec<i32> = batches.iter().flat_map(|batch| batch.permutation.clone()).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..texts.len() as i32).collect::<Vec<_>>());
            for batch in &batches {
                let count = batch.lengths.len();
                prop_assert!(count == 1 || (count * batch.width <= max_tokens && count <= max_rows));
                for (at, &row) in batch.permutation.iter().enumerate() {
                    let (ids, padding) = batch.input_ids[at * batch.width..][..batch.width]
                        .split_at(batch.lengths[at] as usize);
                    prop_assert_eq!(ids, rows.row(row as usize));
                    prop_assert!(padding.iter().all(|&id| id == 0));
                }
            }
        }
    }
}
