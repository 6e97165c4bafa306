//! Model-ready buffers: all batches of a call in one piece, padded or packed.
//!
//! A padded batch is a rectangle filled up to its longest row. A packed one has its rows one after the other, told apart by
//! `cu_seqlens`, and nothing between them.

use std::ops::Range;

use crate::encoder::{Budget, Rows};
use crate::error::{Error, Result};

/// How the rows of a batch lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Each row takes as much room as the longest; the room counts for the budget.
    Padded,
    /// Rows follow each other; tokens count for the budget.
    Packed,
}

/// Where one batch lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its rows, in the order of the layout.
    pub rows: Range<usize>,
    /// Tokens of its longest row.
    pub width: usize,
    /// Its part of the buffers.
    pub tokens: Range<usize>,
}

/// Where each row of a call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The form of all batches.
    pub form: Form,
    /// The batches.
    pub spans: Vec<Span>,
    /// Of each row, its place in the caller's list: the longest first, equal lengths in the caller's order.
    pub permutation: Vec<i32>,
    /// Of each place in the caller's list, its row.
    pub inverse: Vec<i32>,
}

impl Layout {
    /// Of some rows under a budget; a row longer than the budget is a batch of its own.
    pub fn of(rows: &Rows, budget: Budget, form: Form) -> Self {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&row| std::cmp::Reverse(rows.length(row)));
        let mut this = Self {
            form,
            spans: Vec::new(),
            permutation: order.iter().map(|&row| row as i32).collect(),
            inverse: vec![0; order.len()],
        };
        for (at, &row) in order.iter().enumerate() {
            this.inverse[row] = at as i32;
            this.place(at, rows.length(row), budget);
        }
        this
    }

    fn place(&mut self, row: usize, length: usize, budget: Budget) {
        let end = self.tokens();
        if let Some(span) = self.spans.last_mut() {
            let taken = if self.form == Form::Padded { span.width } else { length };
            let tokens = span.tokens.len() + taken;
            if tokens <= budget.max_tokens && span.rows.len() < budget.max_rows {
                span.rows.end += 1;
                span.tokens.end += taken;
                return;
            }
        }
        self.spans.push(Span { rows: row..row + 1, width: length, tokens: end..end + length });
    }

    /// Length of the buffers.
    pub fn tokens(&self) -> usize {
        self.spans.last().map_or(0, |span| span.tokens.end)
    }

    /// Tokens of each row.
    pub fn lengths(&self, rows: &Rows) -> Vec<i32> {
        self.permutation.iter().map(|&row| rows.length(row as usize) as i32).collect()
    }

    /// Where each row of each batch starts within the batch, and where its last one ends; batch after batch.
    pub fn cu_seqlens(&self, rows: &Rows) -> Vec<i32> {
        let mut all = Vec::with_capacity(self.permutation.len() + self.spans.len());
        for span in &self.spans {
            let mut end = 0;
            all.push(0);
            for &row in &self.permutation[span.rows.clone()] {
                end += rows.length(row as usize) as i32;
                all.push(end);
            }
        }
        all
    }

    /// Writes the ids, and beside each one its mask (padded) or its position (packed), into buffers of [`Self::tokens`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for a buffer of another length, and where rows must be filled up and no padding id is known.
    pub fn fill<T: Integer>(
        &self,
        rows: &Rows,
        padding_id: Option<u32>,
        ids: &mut [T],
        beside: Option<&mut [T]>,
    ) -> Result<()> {
        let mut beside = beside;
        self.check("input_ids", ids.len())?;
        self.check("beside", beside.as_ref().map_or(self.tokens(), |beside| beside.len()))?;
        for span in &self.spans {
            let mut at = span.tokens.start;
            for &row in &self.permutation[span.rows.clone()] {
                let row = rows.row(row as usize);
                let width = if self.form == Form::Padded { span.width } else { row.len() };
                let (own, rest) = ids[at..at + width].split_at_mut(row.len());
                own.iter_mut().zip(row).for_each(|(out, &id)| *out = T::of(id));
                if !rest.is_empty() {
                    rest.fill(T::of(padding(padding_id)?));
                }
                if let Some(beside) = beside.as_deref_mut() {
                    let (own, rest) = beside[at..at + width].split_at_mut(row.len());
                    match self.form {
                        Form::Padded => own.fill(T::of(1)),
                        Form::Packed => {
                            own.iter_mut().zip(0..).for_each(|(out, position)| *out = T::of(position))
                        }
                    }
                    rest.fill(T::of(0));
                }
                at += width;
            }
        }
        Ok(())
    }

    fn check(&self, name: &str, length: usize) -> Result<()> {
        let rule = || format!("values are not the {} of this call", self.tokens());
        (length == self.tokens()).then_some(()).ok_or_else(|| Error::invalid(name, length, rule()))
    }
}

fn padding(id: Option<u32>) -> Result<i32> {
    let rule = "is known: the tokenizer names no padding token, so pass one";
    id.map(|id| id as i32).ok_or_else(|| Error::invalid("pad_token_id", "none", rule))
}

/// An integer type that models read ids as.
pub trait Integer: Copy {
    /// The same number.
    fn of(value: i32) -> Self;
}

impl Integer for i32 {
    fn of(value: i32) -> Self {
        value
    }
}

impl Integer for i64 {
    fn of(value: i32) -> Self {
        Self::from(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows_of(lengths: &[usize]) -> Rows {
        let mut rows = Rows { ids: Vec::new(), offsets: vec![0] };
        for (row, &length) in lengths.iter().enumerate() {
            rows.ids.extend((0..length).map(|at| (100 * row + at + 1) as i32));
            rows.offsets.push(rows.ids.len());
        }
        rows
    }

    #[test]
    fn three_rows_lie_as_written_by_hand() {
        let rows = rows_of(&[1, 3, 2]);
        let layout = Layout::of(&rows, Budget { max_tokens: 6, max_rows: 9 }, Form::Padded);
        let (mut ids, mut mask) = (vec![7i64; 7], vec![7i64; 7]);
        layout.fill(&rows, Some(0), &mut ids, Some(&mut mask)).unwrap();
        assert_eq!((ids, mask), (vec![101, 102, 103, 201, 202, 0, 1], vec![1, 1, 1, 1, 1, 0, 1]));
        assert_eq!((layout.permutation, layout.inverse), (vec![1, 2, 0], vec![2, 0, 1]));
        let packed = Layout::of(&rows, Budget { max_tokens: 6, max_rows: 9 }, Form::Packed);
        let (mut ids, mut positions) = (vec![7i32; 6], vec![7i32; 6]);
        packed.fill(&rows, None, &mut ids, Some(&mut positions)).unwrap();
        assert_eq!((ids, positions), (vec![101, 102, 103, 201, 202, 1], vec![0, 1, 2, 0, 1, 0]));
        assert_eq!(packed.cu_seqlens(&rows), [0, 3, 5, 6]);
    }

    #[test]
    fn what_cannot_be_filled_is_named() {
        let rows = rows_of(&[1, 3]);
        let layout = Layout::of(&rows, Budget { max_tokens: 6, max_rows: 9 }, Form::Padded);
        let refused = |padding, length| {
            layout.fill(&rows, padding, &mut vec![0i32; length], None).unwrap_err().to_string()
        };
        assert!(refused(None, 6).starts_with("pad_token_id: none is known"));
        assert_eq!(refused(Some(0), 5), "input_ids: 5 values are not the 6 of this call");
    }

    proptest! {
        #[test]
        fn packed_rows_are_the_padded_ones_without_their_padding(
            lengths in proptest::collection::vec(0usize..20, 0..40), max_tokens in 1usize..80, max_rows in 1usize..9,
        ) {
            let rows = rows_of(&lengths);
            let budget = Budget { max_tokens, max_rows };
            for form in [Form::Padded, Form::Packed] {
                let layout = Layout::of(&rows, budget, form);
                let mut ids = vec![-1i32; layout.tokens()];
                layout.fill(&rows, Some(0), &mut ids, None).unwrap();
                let found = layout.lengths(&rows);
                let mut restored = vec![Vec::new(); lengths.len()];
                for span in &layout.spans {
                    prop_assert!(span.rows.len() == 1 || (span.tokens.len() <= max_tokens && span.rows.len() <= max_rows));
                    let mut at = span.tokens.start;
                    for row in span.rows.clone() {
                        restored[layout.permutation[row] as usize] = ids[at..at + found[row] as usize].to_vec();
                        at += if form == Form::Padded { span.width } else { found[row] as usize };
                    }
                    prop_assert_eq!(at, span.tokens.end);
                }
                for (place, ids) in restored.iter().enumerate() {
                    prop_assert_eq!(ids.as_slice(), rows.row(place));
                    prop_assert_eq!(layout.permutation[layout.inverse[place] as usize], place as i32);
                }
            }
        }
    }
}
