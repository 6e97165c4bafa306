//! Sixteen rows of logits, column by column, so that each step is one instruction for several rows.

use super::Activation;
use crate::error::{Error, Result};

/// Rows of a block.
pub(crate) const ROWS: usize = 16;

/// A value for each row of a block.
pub(crate) type Lane = [f32; ROWS];

/// A floating-point type that logits come in.
pub trait Logit: Copy + Default + Into<f64> + Sync {
    /// `self - other`, rounded to `f32` after the subtraction.
    fn minus(self, other: Self) -> f32;
    /// Zero, or NaN where the value is not finite.
    fn trace(self) -> f32;
}

impl Logit for f32 {
    fn minus(self, other: Self) -> f32 {
        self - other
    }

    fn trace(self) -> f32 {
        self * 0.0
    }
}

impl Logit for f64 {
    fn minus(self, other: Self) -> f32 {
        (self - other) as f32
    }

    fn trace(self) -> f32 {
        (self * 0.0) as f32
    }
}

/// Up to [`ROWS`] rows; those that are missing are zeros.
pub(crate) struct Block<'a, F> {
    values: &'a [F],
    rows: usize,
    columns: usize,
    /// The last block is filled up.
    filled: Vec<F>,
}

impl<'a, F: Logit> Block<'a, F> {
    /// Of some rows, one after the other.
    #[inline(always)]
    pub fn read(values: &'a [F], columns: usize) -> Self {
        let rows = values.len() / columns;
        let mut filled = Vec::new();
        if rows < ROWS {
            filled.extend_from_slice(values);
            filled.resize(ROWS * columns, F::default());
        }
        Self { values, rows, columns, filled }
    }

    /// Whole rows, [`ROWS`] of them.
    #[inline(always)]
    fn whole(&self) -> &[F] {
        if self.rows < ROWS { &self.filled } else { self.values }
    }

    #[inline(always)]
    fn column(&self, index: usize) -> [F; ROWS] {
        let values = self.whole();
        std::array::from_fn(|row| values[row * self.columns + index])
    }

    /// The logits of one row, as they came.
    pub fn row(&self, row: usize) -> &[F] {
        &self.whole()[row * self.columns..(row + 1) * self.columns]
    }

    /// # Errors
    /// [`Error::NotFinite`] for the first NaN or infinity; `first` is the number of the first row.
    #[inline(always)]
    pub fn refuse_what_is_not_finite(&self, first: usize) -> Result<()> {
        let mut traces = [0.0; ROWS];
        let (lanes, rest) = self.whole().as_chunks::<ROWS>();
        for lane in lanes {
            (0..ROWS).for_each(|at| traces[at] += lane[at].trace());
        }
        rest.iter().for_each(|value| traces[0] += value.trace());
        if traces.iter().all(|trace| *trace == 0.0) {
            return Ok(());
        }
        let found = self.values.iter().enumerate().find(|&(_, &value)| !value.into().is_finite());
        found.map_or(Ok(()), |(at, &value)| {
            let (row, column) = (first + at / self.columns, at % self.columns);
            Err(Error::NotFinite { row, column, found: value.into().to_string() })
        })
    }

    /// The score of a label in each row.
    #[inline(always)]
    pub fn scores(&self, label: usize, activation: Activation) -> Lane {
        self.scores_at(label, activation, 1.0)
    }

    /// The same of logits divided by a temperature, whose inverse is given.
    #[inline(always)]
    pub fn scores_at(&self, label: usize, activation: Activation, scale: f32) -> Lane {
        let odds = self.odds_against(label, activation, scale);
        std::array::from_fn(|row| 1.0 / (1.0 + odds[row]))
    }

    /// Odds against the label: the sum over the other labels of `exp(z_j - z_l)`, or `exp(-z_l)`.
    #[inline(always)]
    fn odds_against(&self, label: usize, activation: Activation, scale: f32) -> Lane {
        let own = self.column(label);
        if activation == Activation::Sigmoid {
            return exp(&std::array::from_fn(|row| F::default().minus(own[row]) * scale));
        }
        let mut sum = [0.0; ROWS];
        for index in (0..self.columns).filter(|&index| index != label) {
            let other = self.column(index);
            let odds = exp(&std::array::from_fn(|row| other[row].minus(own[row]) * scale));
            (0..ROWS).for_each(|row| sum[row] += odds[row]);
        }
        sum
    }
}

/// Least and greatest arguments: below, a score is 1; at the greatest, exp is infinite and the score 0.
const LEAST: f32 = -87.0;
const GREATEST: f32 = 89.0;

/// Added and taken away again, it rounds to an integer, which stands in the low bits meanwhile.
const ROUND: f32 = 12_582_912.0;

/// Coefficients of `(exp(r) - 1 - r) / r^2` for |r| up to ln(2) / 2, the highest first (Cephes, `expf`).
const COEFFICIENTS: [f32; 6] =
    [1.987_569_2e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.000_000_3e-1];

/// exp of each, to about one unit in the last place.
#[inline(always)]
pub(crate) fn exp(values: &Lane) -> Lane {
    std::array::from_fn(|row| {
        let x = values[row].clamp(LEAST, GREATEST);
        let rounded = x * std::f32::consts::LOG2_E + ROUND;
        let n = rounded - ROUND;
        // ln(2) in two parts, the first of which times n is exact.
        let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
        let p = COEFFICIENTS.iter().fold(0.0, |p, c| p * r + c);
        let power = f32::from_bits(rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
        (p * r * r + r + 1.0) * power
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_that_of_the_library_to_a_part_in_five_million() {
        for step in 0..100_000 {
            let x = -87.0 + step as f32 * (175.0 / 100_000.0);
            let (found, expected) = (f64::from(exp(&[x; ROWS])[3]), f64::from(x).exp());
            assert!((found / expected - 1.0).abs() < 2e-7, "{x}: {found} {expected}");
        }
        assert_eq!(exp(&[0.0; ROWS]), [1.0; ROWS]);
    }
}
