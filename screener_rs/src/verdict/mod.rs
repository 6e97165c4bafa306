//! Logits to scores, calibrated probabilities and verdicts, in the callers' order.
//!
//! Rows are read sixteen at a time. A softmax needs no maximum here: the score of label `l` is
//! `1 / (1 + sum over the others of exp(z_j - z_l))`, where an overflow of the sum is a score of 0.

mod block;
mod calibration;
mod combine;

use crate::error::{Error, Result};
pub use block::Logit;
use block::{Block, ROWS};
pub use calibration::Calibration;
pub use combine::{Combined, Rule, combine};

/// How a row of logits becomes a score in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Share of one label among all of them.
    Softmax,
    /// The label by itself.
    Sigmoid,
}

/// A label that means toxic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Label {
    /// Its column.
    pub index: usize,
    /// Probabilities at or above it fail; compared as `f32`, like those that are returned.
    pub threshold: f32,
}

/// How rows are judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The labels that mean toxic, at most 32: a row fails by any of them.
    pub labels: Vec<Label>,
    /// Logit to score.
    pub activation: Activation,
    /// Score to probability; none: they are the same.
    pub calibration: Option<Calibration>,
}

/// Answers in the callers' order.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdicts {
    /// Score of each label, row after row.
    pub scores: Vec<f32>,
    /// The same after the calibration; none where there is none.
    pub calibrated: Option<Vec<f32>>,
    /// Whether each row passed.
    pub passed: Vec<bool>,
}

impl Verdicts {
    /// Calibrated probability of each label, row after row.
    pub fn probabilities(&self) -> &[f32] {
        self.calibrated.as_deref().unwrap_or(&self.scores)
    }

    /// Of each row, by how much its probability stays below the threshold: of several labels the least. Not above 0 where
    /// the row failed.
    pub fn margins(&self, labels: &[Label]) -> Vec<f32> {
        let margin = |row: &[f32]| {
            labels.iter().zip(row).map(|(label, &p)| label.threshold - p).fold(f32::INFINITY, f32::min)
        };
        self.probabilities().chunks_exact(labels.len()).map(margin).collect()
    }

    /// Of each row, a bit for each label at or above its threshold.
    pub fn flags(&self, labels: &[Label]) -> Vec<u32> {
        let flags = |row: &[f32]| {
            let raised = labels.iter().zip(row).map(|(label, &p)| u32::from(p >= label.threshold));
            raised.enumerate().fold(0, |flags, (at, raised)| flags | raised << at)
        };
        self.probabilities().chunks_exact(labels.len()).map(flags).collect()
    }
}

/// 1 / (1 + exp(-z)), without overflow on either side.
pub(crate) fn sigmoid(z: f64) -> f64 {
    let small = (-z.abs()).exp();
    if z >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
}

/// A threshold in [0, 1].
///
/// # Errors
/// [`Error::Invalid`] outside of it.
pub fn checked_threshold(threshold: f64) -> Result<f64> {
    let holds = (0.0..=1.0).contains(&threshold);
    holds.then_some(threshold).ok_or_else(|| Error::invalid("threshold", threshold, "is not in [0, 1]"))
}

/// Judges `logits`, row after row with `columns` columns, and puts row `i` at place `permutation[i]`.
///
/// # Errors
/// [`Error::NotFinite`] for a NaN or an infinite logit, [`Error::Invalid`] for a label without a column, no label or more
/// than 32 of them, or a permutation that does not name each place once.
pub fn judge<F: Logit, P: Place>(
    logits: &[F],
    columns: usize,
    plan: &Plan,
    permutation: Option<&[P]>,
) -> Result<Verdicts> {
    check(plan, columns)?;
    let (count, labels) = (logits.len() / columns, plan.labels.len());
    if let Some(places) = permutation.filter(|places| places.len() != count) {
        let rule = format!("places are not the {count} rows of the logits");
        return Err(Error::invalid("permutation", places.len(), rule));
    }
    // A place that was not written yet is NaN, which no score is.
    let mut scores = vec![f32::NAN; count * labels];
    let mut calibrated = plan.calibration.as_ref().map(|_| vec![f32::NAN; count * labels]);
    let mut found = Found::default();
    for first in (0..count).step_by(CHUNK) {
        let rows = CHUNK.min(count - first);
        found.read(first, &logits[first * columns..(first + rows) * columns], columns, plan)?;
        let places = permutation.map(|places| &places[first..first + rows]);
        scatter(&found.scores, &mut scores, places, labels, first)?;
        if let Some(calibrated) = &mut calibrated {
            scatter(&found.calibrated, calibrated, places, labels, first)?;
        }
    }
    // As many writes as places: one that was written twice leaves another one out.
    if scores.iter().any(|score| score.is_nan()) {
        return Err(there_twice(permutation.unwrap_or_default()));
    }
    let passed = passed(calibrated.as_deref().unwrap_or(&scores), &plan.labels);
    Ok(Verdicts { scores, calibrated, passed })
}

/// Rows between two turns at the callers' order: writing there misses the cache, so it is done many rows at a time.
const CHUNK: usize = 64 * ROWS;

/// Scores of a chunk, row after row with a value for each label.
#[derive(Default)]
struct Found {
    scores: Vec<f32>,
    calibrated: Vec<f32>,
}

impl Found {
    /// Reads the rows that start with number `first`, with the widest instructions there are.
    #[cfg_attr(target_arch = "x86_64", allow(unsafe_code))]
    fn read<F: Logit>(&mut self, first: usize, logits: &[F], columns: usize, plan: &Plan) -> Result<()> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has just been asked.
            return unsafe { self.read_by_eights(first, logits, columns, plan) };
        }
        self.read_plainly(first, logits, columns, plan)
    }

    /// The same code, for the compiler to use eight lanes in; every step is rounded as it is with four.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn read_by_eights<F: Logit>(
        &mut self,
        first: usize,
        logits: &[F],
        columns: usize,
        plan: &Plan,
    ) -> Result<()> {
        self.read_plainly(first, logits, columns, plan)
    }

    #[inline(always)]
    fn read_plainly<F: Logit>(
        &mut self,
        first: usize,
        logits: &[F],
        columns: usize,
        plan: &Plan,
    ) -> Result<()> {
        let (rows, labels) = (logits.len() / columns, plan.labels.len());
        self.scores.resize(rows * labels, 0.0);
        self.calibrated.resize(if plan.calibration.is_some() { rows * labels } else { 0 }, 0.0);
        for start in (0..rows).step_by(ROWS) {
            let end = rows.min(start + ROWS);
            let block = Block::read(&logits[start * columns..end * columns], columns);
            block.refuse_what_is_not_finite(first + start)?;
            for (at, label) in plan.labels.iter().enumerate() {
                let scores = block.scores(label.index, plan.activation);
                let places = (start..end).map(|row| row * labels + at);
                places.clone().zip(scores).for_each(|(place, score)| self.scores[place] = score);
                if let Some(how) = &plan.calibration {
                    let probabilities = how.apply(&block, label.index, plan.activation, &scores);
                    places.zip(probabilities).for_each(|(place, p)| self.calibrated[place] = p);
                }
            }
        }
        Ok(())
    }
}

/// Puts each row of `from` at its place in `to`; `first` is the number of the first row.
fn scatter<P: Place>(
    from: &[f32],
    to: &mut [f32],
    places: Option<&[P]>,
    labels: usize,
    first: usize,
) -> Result<()> {
    let Some(places) = places else {
        to[first * labels..][..from.len()].copy_from_slice(from);
        return Ok(());
    };
    let count = to.len() / labels;
    let refused = |row: usize| {
        Error::invalid(
            format!("permutation[{}]", first + row),
            places[row],
            format!("is not in [0, {count})"),
        )
    };
    for (row, (values, place)) in from.chunks_exact(labels).zip(places).enumerate() {
        let place = place.index().filter(|&place| place < count).ok_or_else(|| refused(row))?;
        to[place * labels..][..labels].copy_from_slice(values);
    }
    Ok(())
}

/// Names the first place that came before.
fn there_twice<P: Place>(permutation: &[P]) -> Error {
    let mut seen = vec![false; permutation.len()];
    let again = permutation.iter().position(|place| {
        place.index().and_then(|place| seen.get_mut(place)).is_some_and(|seen| std::mem::replace(seen, true))
    });
    let at = again.unwrap_or_default();
    let place = permutation.get(at).map_or_else(String::new, ToString::to_string);
    Error::invalid(format!("permutation[{at}]"), place, "is there twice")
}

fn passed(probabilities: &[f32], labels: &[Label]) -> Vec<bool> {
    if let [label] = labels {
        return probabilities.iter().map(|&p| p < label.threshold).collect();
    }
    let passes = |row: &[f32]| labels.iter().zip(row).all(|(label, &p)| p < label.threshold);
    probabilities.chunks_exact(labels.len()).map(passes).collect()
}

fn check(plan: &Plan, columns: usize) -> Result<()> {
    if plan.labels.is_empty() || plan.labels.len() > 32 {
        return Err(Error::invalid("labels", plan.labels.len(), "are not 1 to 32"));
    }
    match plan.labels.iter().find(|label| label.index >= columns) {
        Some(label) => {
            Err(Error::invalid("label_index", label.index, format!("is not below {columns}, the labels")))
        }
        None => Ok(()),
    }
}

/// A number that names a place in the callers' list.
pub trait Place: Copy + std::fmt::Display {
    /// As an index; none where it is below 0.
    fn index(self) -> Option<usize>;
}

impl Place for i32 {
    fn index(self) -> Option<usize> {
        usize::try_from(self).ok()
    }
}

impl Place for i64 {
    fn index(self) -> Option<usize> {
        usize::try_from(self).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNMOVED: Option<&[i32]> = None;

    fn plan(activation: Activation, labels: &[(usize, f32)]) -> Plan {
        let labels = labels.iter().map(|&(index, threshold)| Label { index, threshold }).collect();
        Plan { labels, activation, calibration: None }
    }

    fn softmax() -> Plan {
        plan(Activation::Softmax, &[(1, 0.5)])
    }

    #[test]
    fn a_score_at_the_threshold_fails_and_rows_go_to_their_places() {
        let found = judge(&[0.0f32, 0.0, 3.0, 0.0], 2, &softmax(), Some(&[1i64, 0])).unwrap();
        assert_eq!(found.passed, [true, false]);
        assert_eq!(found.scores[1], 0.5);
        assert!((found.scores[0] - 0.047_425_874).abs() < 1e-7);
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        let found = judge(&[1000.0f64, -1000.0, -1000.0, 1000.0], 2, &softmax(), UNMOVED).unwrap();
        assert_eq!(found.scores, [0.0, 1.0]);
        let sigmoid = plan(Activation::Sigmoid, &[(1, 0.5)]);
        assert_eq!(judge(&[0.0f64, -1e300, 0.0, 1e300], 2, &sigmoid, UNMOVED).unwrap().scores, [0.0, 1.0]);
    }

    #[test]
    fn nan_and_infinity_are_named_wherever_they_stand() {
        for (bad, text) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
            for at in [0, 5, 37, 99] {
                let mut logits = [0.0; 100];
                logits[at] = bad;
                let error = judge(&logits, 2, &softmax(), UNMOVED).unwrap_err();
                assert_eq!(error, Error::NotFinite { row: at / 2, column: at % 2, found: text.into() });
            }
        }
    }

    #[test]
    fn only_a_bijection_is_a_permutation() {
        for bad in [&[0i64, 0][..], &[0, 2], &[0, -1], &[0]] {
            assert!(judge(&[0.0f32; 4], 2, &softmax(), Some(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn any_of_several_labels_fails_a_text() {
        let plan = plan(Activation::Sigmoid, &[(0, 0.5), (2, 0.9)]);
        let found = judge(&[-1.0f32, 9.0, 2.0, -1.0, 9.0, 3.0, 1.0, 9.0, -3.0], 3, &plan, UNMOVED).unwrap();
        assert_eq!(found.passed, [true, false, false]);
        assert_eq!(found.flags(&plan.labels), [0, 0b10, 0b01]);
        let margins = found.margins(&plan.labels);
        assert!((margins[0] - (0.9 - 0.880_797)).abs() < 1e-6 && margins[1] < 0.0 && margins[2] < 0.0);
    }

    #[test]
    fn a_row_scores_the_same_in_a_block_and_after_the_last_one() {
        let logits: Vec<f32> = (0..ROWS * 6 + 6).map(|i| ((i * 37 % 101) as f32) / 9.0 - 5.0).collect();
        let together = judge(&logits, 6, &softmax(), UNMOVED).unwrap().scores;
        for (row, values) in logits.chunks(6).enumerate() {
            assert_eq!(judge(values, 6, &softmax(), UNMOVED).unwrap().scores, [together[row]]);
        }
    }
}
