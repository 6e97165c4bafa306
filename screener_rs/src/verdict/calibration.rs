//! From scores to probabilities: what a held-out sample says that a score is worth.

use super::block::{Block, Lane, Logit};
use super::{Activation, sigmoid};
use crate::error::{Error, Result};

/// How a score becomes the probability that the text is toxic.
#[derive(Debug, Clone, PartialEq)]
pub enum Calibration {
    /// Logits are divided by it (Guo et al., arXiv 1706.04599).
    Temperature(f64),
    /// `sigmoid(slope * m + intercept)` of the log-odds `m` of the score (Platt 1999).
    Platt {
        /// Above 0: a higher score is never less toxic.
        slope: f64,
        /// Of the log-odds.
        intercept: f64,
    },
    /// Straight lines between points; the ends go on level (Zadrozny and Elkan 2002).
    Isotonic {
        /// Scores, ascending.
        scores: Vec<f32>,
        /// Their probabilities, not descending.
        probabilities: Vec<f32>,
    },
}

impl Calibration {
    /// The same, once it is known to be a rising map into [0, 1].
    ///
    /// # Errors
    /// [`Error::Invalid`] with the name of the value.
    pub fn checked(self) -> Result<Self> {
        let positive = |name: &str, value: f64| {
            let holds = value.is_finite() && value > 0.0;
            holds.then_some(()).ok_or_else(|| Error::invalid(name, value, "is not above 0 and finite"))
        };
        match &self {
            Self::Temperature(temperature) => positive("temperature", *temperature)?,
            Self::Platt { slope, intercept } => {
                positive("slope", *slope)?;
                if !intercept.is_finite() {
                    return Err(Error::invalid("intercept", intercept, "is not finite"));
                }
            }
            Self::Isotonic { scores, probabilities } => check_points(scores, probabilities)?,
        }
        Ok(self)
    }

    pub(crate) fn apply<F: Logit>(
        &self,
        block: &Block<'_, F>,
        label: usize,
        activation: Activation,
        scores: &Lane,
    ) -> Lane {
        match self {
            Self::Temperature(temperature) => block.scores_at(label, activation, (1.0 / temperature) as f32),
            Self::Platt { slope, intercept } => {
                let platt = |row: usize| {
                    sigmoid(slope * log_odds(block.row(row), label, activation) + intercept) as f32
                };
                std::array::from_fn(platt)
            }
            Self::Isotonic { scores: points, probabilities } => {
                std::array::from_fn(|row| interpolated(points, probabilities, scores[row]))
            }
        }
    }
}

fn check_points(scores: &[f32], probabilities: &[f32]) -> Result<()> {
    if scores.is_empty() || scores.len() != probabilities.len() {
        let rule = format!("probabilities are not one for each of {} scores, 1 or more", scores.len());
        return Err(Error::invalid("isotonic", probabilities.len(), rule));
    }
    for (name, values, strict) in [("scores", scores, true), ("probabilities", probabilities, false)] {
        let out = values.iter().position(|value| !(0.0..=1.0).contains(value));
        let falling = values.windows(2).position(|pair| pair[1] < pair[0] || strict && pair[1] == pair[0]);
        if let Some(at) = out {
            return Err(Error::invalid(format!("{name}[{at}]"), values[at], "is not in [0, 1]"));
        }
        if let Some(at) = falling {
            let rule = format!("does not ascend from {}", values[at]);
            return Err(Error::invalid(format!("{name}[{}]", at + 1), values[at + 1], rule));
        }
    }
    Ok(())
}

fn log_odds<F: Logit>(row: &[F], label: usize, activation: Activation) -> f64 {
    let own: f64 = row[label].into();
    if activation == Activation::Sigmoid {
        return own;
    }
    let others =
        || row.iter().enumerate().filter(|&(index, _)| index != label).map(|(_, &value)| value.into());
    let greatest = others().fold(f64::NEG_INFINITY, f64::max);
    // A single label is certain by softmax.
    if greatest == f64::NEG_INFINITY {
        f64::INFINITY
    } else {
        own - greatest - others().map(|value| (value - greatest).exp()).sum::<f64>().ln()
    }
}

fn interpolated(scores: &[f32], probabilities: &[f32], score: f32) -> f32 {
    let after = scores.partition_point(|&point| point <= score);
    match (after.checked_sub(1), after < scores.len()) {
        (None, _) => probabilities[0],
        (Some(last), false) => probabilities[last],
        (Some(before), true) => {
            let share = (score - scores[before]) / (scores[after] - scores[before]);
            probabilities[before] + share * (probabilities[after] - probabilities[before])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 6] = [0.5, 2.0, -1.0, 0.0, -3.0, 4.0];

    fn calibrated(calibration: Calibration, activation: Activation) -> Vec<f32> {
        let block = Block::read(&LOGITS, 3);
        let scores = block.scores(1, activation);
        calibration.checked().unwrap().apply(&block, 1, activation, &scores)[..2].to_vec()
    }

    #[test]
    fn platt_with_slope_one_is_the_score_itself() {
        for activation in [Activation::Softmax, Activation::Sigmoid] {
            let block = Block::read(&LOGITS, 3);
            let scores = block.scores(1, activation);
            let same = calibrated(Calibration::Platt { slope: 1.0, intercept: 0.0 }, activation);
            assert!(same.iter().zip(scores).all(|(a, b)| (a - b).abs() < 1e-7));
        }
    }

    #[test]
    fn a_temperature_divides_the_logits() {
        let found = calibrated(Calibration::Temperature(2.0), Activation::Softmax);
        let e = |z: f64| (z / 2.0).exp();
        let expected = [e(2.0) / (e(0.5) + e(2.0) + e(-1.0)), e(-3.0) / (e(0.0) + e(-3.0) + e(4.0))];
        assert!(found.iter().zip(expected).all(|(&a, b)| (f64::from(a) - b).abs() < 1e-7));
    }

    #[test]
    fn isotonic_points_are_joined_by_lines_and_level_outside() {
        let (scores, probabilities) = ([0.2, 0.4, 0.8], [0.1, 0.3, 0.3]);
        for (score, expected) in [(0.0, 0.1), (0.2, 0.1), (0.3, 0.2), (0.4, 0.3), (0.6, 0.3), (1.0, 0.3)] {
            assert!((interpolated(&scores, &probabilities, score) - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn a_calibration_that_falls_is_refused_by_name() {
        let isotonic = |scores: &[f32], probabilities: &[f32]| {
            let (scores, probabilities) = (scores.to_vec(), probabilities.to_vec());
            Calibration::Isotonic { scores, probabilities }.checked().unwrap_err().to_string()
        };
        assert_eq!(isotonic(&[0.1, 0.1], &[0.0, 1.0]), "scores[1]: 0.1 does not ascend from 0.1");
        assert_eq!(isotonic(&[0.1, 0.2], &[0.5, 0.4]), "probabilities[1]: 0.4 does not ascend from 0.5");
        assert_eq!(isotonic(&[0.1], &[1.5]), "probabilities[0]: 1.5 is not in [0, 1]");
        let falling = Calibration::Platt { slope: -1.0, intercept: 0.0 }.checked();
        assert_eq!(falling.unwrap_err().to_string(), "slope: -1 is not above 0 and finite");
    }
}
