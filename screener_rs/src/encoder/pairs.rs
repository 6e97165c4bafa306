//! Rows of two texts each.

use super::{Encoder, Rows, join};
use crate::error::{Error, Result};
use crate::parallel::{self, Workers};
use crate::tokenizer::{Piece, Scratch, Side};

/// Ids of several pairs of texts, and the segment of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairRows {
    /// The ids.
    pub rows: Rows,
    /// As many as there are ids.
    pub type_ids: Vec<i32>,
}

impl Encoder {
    /// The ids of each pair of texts, special tokens included, with the segment of each token.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the file cuts pairs in another way than the longer text first, or does not say how
    /// to join them, [`Error::Invalid`] where no text fits beside the special tokens of a pair, and [`Error::Interrupted`].
    pub fn pair_rows<S: AsRef<str> + Sync>(
        &self,
        pairs: &[(S, S)],
        workers: Workers<'_>,
    ) -> Result<PairRows> {
        let template = self.tokenizer.post_processor.pair()?;
        self.tokenizer.refuse_other_strategies()?;
        let added = template.iter().filter(|piece| matches!(piece, Piece::Special(_))).count();
        let room = match self.max_length {
            Some(most) if most < added => {
                let rule = format!("is less than the {added} special tokens of a pair");
                return Err(Error::invalid("max_length", most, rule));
            }
            most => most.map_or(usize::MAX, |most| most - added),
        };
        let sizes = pairs.iter().map(|(first, second)| first.as_ref().len() + second.as_ref().len());
        let parts = parallel::map_chunks(pairs, sizes, workers, |chunk| {
            let mut scratch = self.take();
            let rows = self.encode_pairs(chunk, template, room, &mut scratch);
            self.put_back(scratch);
            rows
        })?;
        let type_ids = parts.iter().flat_map(|part| part.type_ids.iter().copied()).collect();
        Ok(PairRows { rows: join(parts.into_iter().map(|part| part.rows).collect()), type_ids })
    }

    fn encode_pairs<S: AsRef<str>>(
        &self,
        pairs: &[(S, S)],
        template: &[Piece],
        room: usize,
        scratch: &mut Scratch,
    ) -> PairRows {
        let mut found = PairRows { rows: Rows { ids: Vec::new(), offsets: vec![0] }, type_ids: Vec::new() };
        let [mut first, mut second] = [Vec::new(), Vec::new()];
        for pair in pairs {
            first.clear();
            second.clear();
            self.tokenizer.append_ids(pair.0.as_ref(), usize::MAX, scratch, &mut first);
            self.tokenizer.append_ids(pair.1.as_ref(), usize::MAX, scratch, &mut second);
            let kept = pair_lengths(first.len(), second.len(), room);
            for piece in template {
                let (ids, type_id) = match *piece {
                    Piece::Special((id, type_id)) => (&[id][..], type_id),
                    Piece::First(type_id) => (self.cut(&first, kept.0), type_id),
                    Piece::Second(type_id) => (self.cut(&second, kept.1), type_id),
                };
                found.rows.ids.extend(ids.iter().map(|&id| id as i32));
                found.type_ids.extend(std::iter::repeat_n(type_id, ids.len()));
            }
            found.rows.offsets.push(found.rows.ids.len());
        }
        found
    }

    /// The part of a text's ids that truncation leaves.
    fn cut<'a>(&self, ids: &'a [u32], kept: usize) -> &'a [u32] {
        if self.truncation_side == Side::Right { &ids[..kept] } else { &ids[ids.len() - kept..] }
    }
}

/// How many tokens of either text truncation leaves: the longer one is cut first, as in the reference.
fn pair_lengths(first: usize, second: usize, room: usize) -> (usize, usize) {
    if first.saturating_add(second) <= room {
        return (first, second);
    }
    let shorter = first.min(second);
    let longer = if shorter > room { shorter } else { shorter.max(room - shorter) };
    let (shorter, longer) =
        if shorter + longer > room { (room / 2, room / 2 + room % 2) } else { (shorter, longer) };
    if first > second { (longer, shorter) } else { (shorter, longer) }
}
