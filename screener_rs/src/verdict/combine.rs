//! Several screeners, one verdict.

use crate::error::{Error, Result};

/// How several probabilities of one text become one verdict.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// A text fails where any screener fails it, each by its own threshold; its probability is the greatest.
    Any(Vec<f32>),
    /// A text fails where every screener fails it; its probability is the least.
    All(Vec<f32>),
    /// The mean, by weights that are not below 0, against one threshold.
    Weighted {
        /// One for each screener.
        weights: Vec<f64>,
        /// Means at or above it fail.
        threshold: f32,
    },
}

/// Answers of all screeners together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Combined {
    /// Probability of each text.
    pub probabilities: Vec<f32>,
    /// By how much it stays below what fails.
    pub margins: Vec<f32>,
    /// Whether each text passed.
    pub passed: Vec<bool>,
}

/// Combines the probabilities of several screeners, one slice each.
///
/// # Errors
/// [`Error::Invalid`] for slices of different length, a probability outside [0, 1] or NaN, with its screener and row, and
/// for thresholds or weights that do not fit the screeners.
pub fn combine(screeners: &[&[f32]], rule: &Rule) -> Result<Combined> {
    check(screeners, rule)?;
    let count = screeners.first().map_or(0, |first| first.len());
    let mut all = Combined::default();
    for row in 0..count {
        let values = || screeners.iter().map(|screener| screener[row]);
        let below =
            |thresholds: &[f32]| thresholds.iter().zip(values()).map(|(t, p)| t - p).collect::<Vec<_>>();
        let (probability, margin) = match rule {
            Rule::Any(thresholds) => {
                (values().fold(0.0, f32::max), below(thresholds).into_iter().fold(f32::INFINITY, f32::min))
            }
            Rule::All(thresholds) => (
                values().fold(1.0, f32::min),
                below(thresholds).into_iter().fold(f32::NEG_INFINITY, f32::max),
            ),
            Rule::Weighted { weights, threshold } => {
                let sum: f64 = weights.iter().zip(values()).map(|(w, p)| w * f64::from(p)).sum();
                let mean = (sum / weights.iter().sum::<f64>()) as f32;
                (mean, threshold - mean)
            }
        };
        all.probabilities.push(probability);
        all.margins.push(margin);
        all.passed.push(margin > 0.0);
    }
    Ok(all)
}

fn check(screeners: &[&[f32]], rule: &Rule) -> Result<()> {
    let Some(count) = screeners.first().map(|first| first.len()) else {
        return Err(Error::invalid("probabilities", "none", "is a screener"));
    };
    let (name, given) = match rule {
        Rule::Any(thresholds) | Rule::All(thresholds) => ("thresholds", thresholds.len()),
        Rule::Weighted { weights, .. } => ("weights", weights.len()),
    };
    if given != screeners.len() {
        return Err(Error::invalid(
            name,
            given,
            format!("are not one for each of {} screeners", screeners.len()),
        ));
    }
    if let Rule::Weighted { weights, .. } = rule
        && (weights.iter().any(|weight| !(weight.is_finite() && *weight >= 0.0))
            || weights.iter().sum::<f64>() <= 0.0)
    {
        return Err(Error::invalid(
            "weights",
            format!("{weights:?}"),
            "are not 0 or more with a sum above 0",
        ));
    }
    for (at, screener) in screeners.iter().enumerate() {
        if screener.len() != count {
            let rule = format!("values are not {count}, as the first screener has");
            return Err(Error::invalid(format!("probabilities[{at}]"), screener.len(), rule));
        }
        if let Some(row) = screener.iter().position(|p| !(0.0..=1.0).contains(p)) {
            return Err(Error::invalid(
                format!("probabilities[{at}][{row}]"),
                screener[row],
                "is not in [0, 1]",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: [f32; 4] = [0.1, 0.1, 0.9, 0.9];
    const SECOND: [f32; 4] = [0.1, 0.9, 0.1, 0.9];

    fn passed(rule: &Rule) -> Vec<bool> {
        combine(&[&FIRST, &SECOND], rule).unwrap().passed
    }

    #[test]
    fn any_all_and_the_mean_differ_where_screeners_disagree() {
        assert_eq!(passed(&Rule::Any(vec![0.5, 0.5])), [true, false, false, false]);
        assert_eq!(passed(&Rule::All(vec![0.5, 0.5])), [true, true, true, false]);
        assert_eq!(passed(&Rule::Any(vec![0.5, 0.95])), [true, true, false, false]);
        let weighted =
            |weights: [f64; 2]| passed(&Rule::Weighted { weights: weights.to_vec(), threshold: 0.5 });
        assert_eq!(weighted([1.0, 1.0]), [true, false, false, false]);
        assert_eq!(weighted([1.0, 3.0]), [true, false, true, false]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let refused = |screeners: &[&[f32]], rule: Rule| combine(screeners, &rule).unwrap_err().to_string();
        assert_eq!(
            refused(&[&[0.5, f32::NAN]], Rule::Any(vec![0.5])),
            "probabilities[0][1]: NaN is not in [0, 1]"
        );
        assert!(
            refused(&[&FIRST, &[0.5]], Rule::All(vec![0.5; 2]))
                .starts_with("probabilities[1]: 1 values are not 4")
        );
        assert!(refused(&[&FIRST], Rule::Any(vec![])).starts_with("thresholds: 0 are not one for each of 1"));
        let weights = Rule::Weighted { weights: vec![0.0], threshold: 0.5 };
        assert!(refused(&[&FIRST], weights).contains("sum above 0"));
    }
}
