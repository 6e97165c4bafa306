//! Logits to verdicts.

use numpy::{Element, IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::verdict::{self, Activation, Calibration, Label, Logit, Place, Plan, Rule, Verdicts};

pub(super) type Judged<'py, F> = (Bound<'py, PyArray1<F>>, Bound<'py, PyArray1<bool>>);
type Combined<'py> = (Bound<'py, PyArray1<f32>>, Bound<'py, PyArray1<f32>>, Bound<'py, PyArray1<bool>>);

/// A calibration as Python describes it: told apart by its attributes.
#[derive(FromPyObject)]
enum PyCalibration {
    Temperature { temperature: f64 },
    Platt { slope: f64, intercept: f64 },
    Isotonic { scores: Vec<f32>, probabilities: Vec<f32> },
}

impl PyCalibration {
    fn checked(self) -> Result<Calibration> {
        match self {
            Self::Temperature { temperature } => Calibration::Temperature(temperature),
            Self::Platt { slope, intercept } => Calibration::Platt { slope, intercept },
            Self::Isotonic { scores, probabilities } => Calibration::Isotonic { scores, probabilities },
        }
        .checked()
    }
}

fn activation_of(name: &str) -> Result<Activation> {
    match name {
        "softmax" => Ok(Activation::Softmax),
        "sigmoid" => Ok(Activation::Sigmoid),
        other => Err(Error::invalid("activation", format!("{other:?}"), "is not \"softmax\" or \"sigmoid\"")),
    }
}

fn label(index: i64, threshold: f64) -> Result<Label> {
    let index = usize::try_from(index).map_err(|_| Error::invalid("label_index", index, "is less than 0"))?;
    Ok(Label { index, threshold: verdict::checked_threshold(threshold)? as f32 })
}

/// Judges logits of either width, with places of either width.
fn judged(
    logits: &Bound<'_, PyAny>,
    plan: &Plan,
    permutation: Option<&Bound<'_, PyAny>>,
) -> PyResult<Verdicts> {
    if let Ok(array) = logits.extract::<PyReadonlyArray2<'_, f32>>() {
        placed(&array, plan, permutation)
    } else if let Ok(array) = logits.extract::<PyReadonlyArray2<'_, f64>>() {
        placed(&array, plan, permutation)
    } else {
        Err(PyTypeError::new_err("logits: is not a two-dimensional array of float32 or float64"))
    }
}

fn placed<F: Logit + Element>(
    logits: &PyReadonlyArray2<'_, F>,
    plan: &Plan,
    permutation: Option<&Bound<'_, PyAny>>,
) -> PyResult<Verdicts> {
    let Some(permutation) = permutation else { return run::<F, i32>(logits, plan, None) };
    if let Ok(places) = permutation.extract::<PyReadonlyArray1<'_, i32>>() {
        return run(logits, plan, Some(&places));
    }
    match permutation.extract::<PyReadonlyArray1<'_, i64>>() {
        Ok(places) => run(logits, plan, Some(&places)),
        Err(_) => Err(PyTypeError::new_err("permutation: is not a one-dimensional array of int32 or int64")),
    }
}

fn run<F: Logit + Element, P: Place + Element + Sync>(
    logits: &PyReadonlyArray2<'_, F>,
    plan: &Plan,
    permutation: Option<&PyReadonlyArray1<'_, P>>,
) -> PyResult<Verdicts> {
    let (array, places) = (logits.as_array(), permutation.map(|places| places.as_array()));
    // numpy's own test of contiguity also holds for columns first; this one does not.
    let (rows, places) =
        (array.as_standard_layout(), places.as_ref().map(|places| places.as_standard_layout()));
    let values = rows.as_slice().unwrap_or_default();
    let places = places.as_ref().map(|places| places.as_slice().unwrap_or_default());
    let columns = array.ncols();
    Ok(logits.py().detach(|| verdict::judge(values, columns, plan, places))?)
}

#[pyfunction]
#[pyo3(signature = (logits, *, label_index, activation="softmax", threshold=0.5, permutation=None))]
pub(super) fn verdicts<'py>(
    py: Python<'py>,
    logits: &Bound<'py, PyAny>,
    label_index: i64,
    activation: &str,
    threshold: f64,
    permutation: Option<&Bound<'py, PyAny>>,
) -> PyResult<Judged<'py, f32>> {
    let activation = activation_of(activation)?;
    let plan = Plan { labels: vec![label(label_index, threshold)?], activation, calibration: None };
    let found = judged(logits, &plan, permutation)?;
    Ok((found.scores.into_pyarray(py), found.passed.into_pyarray(py)))
}

#[pyclass(frozen, get_all, name = "Judgements", module = "sro_screener._native")]
pub(super) struct PyJudgements {
    scores: Py<PyArray2<f32>>,
    probabilities: Py<PyArray2<f32>>,
    margins: Py<PyArray1<f32>>,
    flags: Py<PyArray1<u32>>,
    passed: Py<PyArray1<bool>>,
}

#[pymethods]
impl PyJudgements {
    fn __len__(&self, py: Python<'_>) -> usize {
        self.passed.bind(py).as_any().len().unwrap_or(0)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("Judgements(rows={})", self.__len__(py))
    }
}

#[pyfunction]
#[pyo3(signature = (logits, *, label_indices, thresholds, activation="softmax", calibration=None, permutation=None))]
pub(super) fn judge<'py>(
    py: Python<'py>,
    logits: &Bound<'py, PyAny>,
    label_indices: Vec<i64>,
    thresholds: Vec<f64>,
    activation: &str,
    calibration: Option<&Bound<'py, PyAny>>,
    permutation: Option<&Bound<'py, PyAny>>,
) -> PyResult<PyJudgements> {
    if label_indices.len() != thresholds.len() {
        let rule = format!("are not one for each of {} labels", label_indices.len());
        return Err(Error::invalid("thresholds", thresholds.len(), rule).into());
    }
    let labels = label_indices.iter().zip(&thresholds).map(|(&index, &threshold)| label(index, threshold));
    let calibration = calibration.map(|given| {
        let known = given
            .extract::<PyCalibration>()
            .map_err(|_| PyTypeError::new_err("calibration: is not a Temperature, a Platt or an Isotonic"));
        Ok::<_, PyErr>(known?.checked()?)
    });
    let plan = Plan {
        labels: labels.collect::<Result<_>>()?,
        activation: activation_of(activation)?,
        calibration: calibration.transpose()?,
    };
    let found = judged(logits, &plan, permutation)?;
    let (margins, flags) = py.detach(|| (found.margins(&plan.labels), found.flags(&plan.labels)));
    let shape = [found.passed.len(), plan.labels.len()];
    let scores = found.scores.into_pyarray(py).reshape(shape)?.unbind();
    let probabilities = match found.calibrated {
        Some(calibrated) => calibrated.into_pyarray(py).reshape(shape)?.unbind(),
        None => scores.clone_ref(py),
    };
    Ok(PyJudgements {
        scores,
        probabilities,
        margins: margins.into_pyarray(py).unbind(),
        flags: flags.into_pyarray(py).unbind(),
        passed: found.passed.into_pyarray(py).unbind(),
    })
}

#[pyfunction]
#[pyo3(signature = (probabilities, *, rule, thresholds, weights=None))]
pub(super) fn combine<'py>(
    py: Python<'py>,
    probabilities: Vec<PyReadonlyArray1<'py, f32>>,
    rule: &str,
    thresholds: Vec<f64>,
    weights: Option<Vec<f64>>,
) -> PyResult<Combined<'py>> {
    let checked = thresholds.iter().map(|&threshold| Ok(verdict::checked_threshold(threshold)? as f32));
    let thresholds = checked.collect::<Result<Vec<f32>>>()?;
    let rule = combination(rule, thresholds, weights, probabilities.len())?;
    let columns: Vec<_> = probabilities.iter().map(PyReadonlyArray1::as_array).collect();
    let columns: Vec<_> = columns.iter().map(|column| column.as_standard_layout()).collect();
    let slices: Vec<_> = columns.iter().map(|column| column.as_slice().unwrap_or_default()).collect();
    let found = py.detach(|| verdict::combine(&slices, &rule))?;
    Ok((found.probabilities.into_pyarray(py), found.margins.into_pyarray(py), found.passed.into_pyarray(py)))
}

fn combination(
    rule: &str,
    thresholds: Vec<f32>,
    weights: Option<Vec<f64>>,
    screeners: usize,
) -> Result<Rule> {
    let unweighted = ["any", "all", "mean"].contains(&rule);
    if unweighted == weights.is_some() {
        let (found, wish) =
            if unweighted { ("given", "is only for rule \"weighted\"") } else { ("none", "is given") };
        return Err(Error::invalid("weights", found, wish));
    }
    match (rule, thresholds.as_slice()) {
        ("any", _) => Ok(Rule::Any(thresholds)),
        ("all", _) => Ok(Rule::All(thresholds)),
        ("mean" | "weighted", &[threshold]) => {
            Ok(Rule::Weighted { weights: weights.unwrap_or_else(|| vec![1.0; screeners]), threshold })
        }
        ("mean" | "weighted", _) => {
            Err(Error::invalid("thresholds", thresholds.len(), format!("are not the one of rule {rule:?}")))
        }
        _ => {
            let known = "is not \"any\", \"all\", \"mean\" or \"weighted\"";
            Err(Error::invalid("rule", format!("{rule:?}"), known))
        }
    }
}
