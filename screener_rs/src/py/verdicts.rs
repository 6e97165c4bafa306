//! Logits to verdicts.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::error::Error;
use crate::verdict::{self, Activation, Rule, Verdicts};

pub(super) type Judged<'py, F> = (Bound<'py, PyArray1<F>>, Bound<'py, PyArray1<bool>>);

/// A permutation of any integer type that holds places, as `i64`.
fn places(permutation: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    if let Ok(array) = permutation.extract::<PyReadonlyArray1<'_, i32>>() {
        return Ok(array.as_array().iter().map(|&place| i64::from(place)).collect());
    }
    match permutation.extract::<PyReadonlyArray1<'_, i64>>() {
        Ok(array) => Ok(array.as_array().to_vec()),
        Err(_) => Err(PyTypeError::new_err("permutation: is not a one-dimensional array of int32 or int64")),
    }
}

fn judge<F: Copy + Into<f64> + Sync + numpy::Element>(
    logits: &PyReadonlyArray2<'_, F>,
    rule: Rule,
    permutation: Option<&[i64]>,
    py: Python<'_>,
) -> PyResult<Verdicts> {
    let array = logits.as_array();
    // numpy's own test of contiguity also holds for columns first; this one does not.
    let rows = array.as_standard_layout();
    let values = rows.as_slice().unwrap_or_default();
    let labels = array.ncols();
    Ok(py.detach(|| verdict::judge(values, labels, rule, permutation))?)
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
    let activation = match activation {
        "softmax" => Activation::Softmax,
        "sigmoid" => Activation::Sigmoid,
        other => {
            let rule = "is not \"softmax\" or \"sigmoid\"";
            return Err(Error::invalid("activation", format!("{other:?}"), rule).into());
        }
    };
    let label_index = usize::try_from(label_index)
        .map_err(|_| Error::invalid("label_index", label_index, "is less than 0"))?;
    let rule = Rule { label_index, activation, threshold: verdict::checked_threshold(threshold)? as f32 };
    let permutation = permutation.map(places).transpose()?;
    let found = if let Ok(array) = logits.extract::<PyReadonlyArray2<'_, f32>>() {
        judge(&array, rule, permutation.as_deref(), py)?
    } else if let Ok(array) = logits.extract::<PyReadonlyArray2<'_, f64>>() {
        judge(&array, rule, permutation.as_deref(), py)?
    } else {
        return Err(PyTypeError::new_err("logits: is not a two-dimensional array of float32 or float64"));
    };
    Ok((found.scores.into_pyarray(py), found.passed.into_pyarray(py)))
}
