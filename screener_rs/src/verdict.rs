//! Logits to scores and verdicts.

use crate::error::{Error, Result};

/// How a row of logits becomes a score in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Share of one label among all of them.
    Softmax,
    /// The label by itself.
    Sigmoid,
}

/// The rule by which a row passes.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Column of the toxic label.
    pub label_index: usize,
    /// Logit to score.
    pub activation: Activation,
    /// Scores at or above it fail; compared as `f32`, like the scores that are returned.
    pub threshold: f32,
}

/// Scores and verdicts in the callers' order.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdicts {
    /// Toxicity of each text.
    pub scores: Vec<f32>,
    /// Whether each text passed.
    pub passed: Vec<bool>,
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

/// Judges `logits`, row after row with `labels` columns, and puts row `i` at place `permutation[i]`.
///
/// # Errors
/// [`Error::NotFinite`] for a NaN or an infinite logit, [`Error::Invalid`] for a label index without a column or a
/// permutation that does not name each place once.
pub fn judge<F: Copy + Into<f64>>(
    logits: &[F],
    labels: usize,
    rule: Rule,
    permutation: Option<&[i64]>,
) -> Result<Verdicts> {
    if rule.label_index >= labels {
        return Err(Error::invalid(
            "label_index",
            rule.label_index,
            format!("is not below {labels}, the labels"),
        ));
    }
    let count = logits.len() / labels;
    if let Some(permutation) = permutation {
        check_bijection(permutation, count)?;
    }
    let mut verdicts = Verdicts { scores: vec![0.0; count], passed: vec![false; count] };
    for (row, values) in logits.chunks_exact(labels).enumerate() {
        let score = score(row, values, rule)? as f32;
        let place = permutation.map_or(row, |permutation| permutation[row] as usize);
        verdicts.scores[place] = score;
        verdicts.passed[place] = score < rule.threshold;
    }
    Ok(verdicts)
}

fn score<F: Copy + Into<f64>>(row: usize, values: &[F], rule: Rule) -> Result<f64> {
    let mut greatest = f64::NEG_INFINITY;
    for (column, &value) in values.iter().enumerate() {
        let value: f64 = value.into();
        if !value.is_finite() {
            return Err(Error::NotFinite { row, column, found: value.to_string() });
        }
        greatest = greatest.max(value);
    }
    let chosen: f64 = values[rule.label_index].into();
    Ok(match rule.activation {
        Activation::Sigmoid => sigmoid(chosen),
        Activation::Softmax => {
            let sum: f64 = values.iter().map(|&value| (value.into() - greatest).exp()).sum();
            (chosen - greatest).exp() / sum
        }
    })
}

fn check_bijection(permutation: &[i64], count: usize) -> Result<()> {
    if permutation.len() != count {
        let rule = format!("places are not the {count} rows of the logits");
        return Err(Error::invalid("permutation", permutation.len(), rule));
    }
    let mut taken = vec![false; count];
    for (at, &place) in permutation.iter().enumerate() {
        let slot = usize::try_from(place).ok().and_then(|place| taken.get_mut(place));
        match slot {
            Some(slot) if !*slot => *slot = true,
            Some(_) => return Err(Error::invalid(format!("permutation[{at}]"), place, "is there twice")),
            None => {
                return Err(Error::invalid(
                    format!("permutation[{at}]"),
                    place,
                    format!("is not in [0, {count})"),
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { label_index: 1, activation: Activation::Softmax, threshold: 0.5 };

    #[test]
    fn a_score_at_the_threshold_fails_and_rows_go_to_their_places() {
        let found = judge(&[0.0f32, 0.0, 3.0, 0.0], 2, RULE, Some(&[1, 0])).unwrap();
        assert_eq!(found.passed, [true, false]);
        assert_eq!(found.scores[1], 0.5);
        assert!((found.scores[0] - 0.047_425_874).abs() < 1e-7);
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        let found = judge(&[1000.0f64, -1000.0, -1000.0, 1000.0], 2, RULE, None).unwrap();
        assert_eq!(found.scores, [0.0, 1.0]);
        let sigmoid = Rule { activation: Activation::Sigmoid, ..RULE };
        assert_eq!(judge(&[0.0f64, -1e300], 2, sigmoid, None).unwrap().scores, [0.0]);
    }

    #[test]
    fn nan_and_infinity_are_named() {
        for (bad, text) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
            let error = judge(&[0.0, 1.0, bad, 0.0], 2, RULE, None).unwrap_err();
            assert_eq!(error, Error::NotFinite { row: 1, column: 0, found: text.into() });
        }
    }

    #[test]
    fn only_a_bijection_is_a_permutation() {
        for bad in [&[0i64, 0][..], &[0, 2], &[0, -1], &[0]] {
            assert!(judge(&[0.0f32; 4], 2, RULE, Some(bad)).is_err(), "{bad:?}");
        }
    }
}
