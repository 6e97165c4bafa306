//! All of PyO3: the classes and functions of `sro_screener._native`, documented in `_native.pyi`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::{PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyString;

use crate::encoder::{self, Budget};
use crate::error::{Error, Result};
use crate::tokenizer::{Side, Tokenizer};
use crate::verdict::{self, Activation, Rule, Verdicts};
use crate::{nb, parallel};

type Judged<'py, F> = (Bound<'py, PyArray1<F>>, Bound<'py, PyArray1<bool>>);
type FlatPairs<'py> = (Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<i64>>);
type FlatIds<'py> = (Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<i64>>);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match &error {
            Error::Io { .. } => PyOSError::new_err(error.to_string()),
            Error::NotText { .. } => PyTypeError::new_err(error.to_string()),
            _ => PyValueError::new_err(error.to_string()),
        }
    }
}

/// Borrows the UTF-8 of each text; a lone surrogate has none, so its row is named.
fn borrow_texts(texts: &Bound<'_, PyAny>) -> PyResult<Vec<PyBackedStr>> {
    if texts.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err("texts: one str is not a list of them"));
    }
    let mut borrowed = Vec::with_capacity(texts.len().unwrap_or(0));
    for (row, text) in texts.try_iter()?.enumerate() {
        let text = text?;
        let Ok(string) = text.cast::<PyString>() else {
            let found = format!("{} is not a str", text.get_type().name()?);
            return Err(Error::NotText { row, found }.into());
        };
        let backed = PyBackedStr::try_from(string.clone());
        let refused = |error: PyErr| {
            PyValueError::new_err(format!("texts[{row}]: has a lone surrogate: {}", error.value(texts.py())))
        };
        borrowed.push(backed.map_err(refused)?);
    }
    Ok(borrowed)
}

fn count(name: &str, value: i64) -> Result<usize> {
    usize::try_from(value)
        .ok()
        .filter(|&count| count > 0)
        .ok_or_else(|| Error::invalid(name, value, "is less than 1"))
}

fn maybe_count(name: &str, value: Option<i64>) -> Result<Option<usize>> {
    value.map(|value| count(name, value)).transpose()
}

fn thread_count(threads: Option<i64>) -> Result<usize> {
    parallel::threads(maybe_count("threads", threads)?)
}

fn side(name: Option<&str>) -> Result<Option<Side>> {
    match name {
        None => Ok(None),
        Some("left") => Ok(Some(Side::Left)),
        Some("right") => Ok(Some(Side::Right)),
        Some(other) => {
            Err(Error::invalid("truncation_side", format!("{other:?}"), "is not \"left\" or \"right\""))
        }
    }
}

fn settings(
    max_length: Option<i64>,
    truncation_side: Option<&str>,
    pad_token_id: Option<i64>,
) -> Result<encoder::Settings> {
    let token_id = |id: i64| {
        u32::try_from(id)
            .ok()
            .filter(|&id| i32::try_from(id).is_ok())
            .ok_or_else(|| Error::invalid("pad_token_id", id, "is not in [0, 2^31)"))
    };
    Ok(encoder::Settings {
        max_length: maybe_count("max_length", max_length)?,
        truncation_side: side(truncation_side)?,
        pad_token_id: pad_token_id.map(token_id).transpose()?,
    })
}

#[pyclass(frozen, name = "Encoder", module = "sro_screener._native")]
struct PyEncoder(encoder::Encoder);

#[pymethods]
impl PyEncoder {
    #[staticmethod]
    #[pyo3(
        signature = (path, max_length=Some(128), *, truncation_side=None, pad_token_id=None),
        text_signature = "(path, max_length=128, *, truncation_side=None, pad_token_id=None)"
    )]
    fn from_file(
        py: Python<'_>,
        path: std::path::PathBuf,
        max_length: Option<i64>,
        truncation_side: Option<&str>,
        pad_token_id: Option<i64>,
    ) -> PyResult<Self> {
        let text = py
            .detach(|| std::fs::read_to_string(&path))
            .map_err(|error| Error::Io { path: path.display().to_string(), reason: error.to_string() })?;
        Self::from_json(py, &text, max_length, truncation_side, pad_token_id)
    }

    #[staticmethod]
    #[pyo3(
        signature = (text, max_length=Some(128), *, truncation_side=None, pad_token_id=None),
        text_signature = "(text, max_length=128, *, truncation_side=None, pad_token_id=None)"
    )]
    fn from_json(
        py: Python<'_>,
        text: &str,
        max_length: Option<i64>,
        truncation_side: Option<&str>,
        pad_token_id: Option<i64>,
    ) -> PyResult<Self> {
        let settings = settings(max_length, truncation_side, pad_token_id)?;
        Ok(Self(py.detach(|| encoder::Encoder::new(Tokenizer::from_json(text)?, settings))?))
    }

    #[pyo3(signature = (texts, max_tokens=4096, max_rows=None, threads=None))]
    fn encode(
        slf: &Bound<'_, Self>,
        texts: &Bound<'_, PyAny>,
        max_tokens: i64,
        max_rows: Option<i64>,
        threads: Option<i64>,
    ) -> PyResult<Vec<PyBatch>> {
        let budget = Budget {
            max_tokens: count("max_tokens", max_tokens)?,
            max_rows: maybe_count("max_rows", max_rows)?.unwrap_or(usize::MAX),
        };
        let (threads, texts, this) = (thread_count(threads)?, borrow_texts(texts)?, &slf.get().0);
        let batches = slf.py().detach(|| this.batches(&this.rows(&texts, threads), budget))?;
        batches.into_iter().map(|batch| PyBatch::new(slf, batch)).collect()
    }

    #[pyo3(signature = (texts, threads=None))]
    fn encode_ids<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        threads: Option<i64>,
    ) -> PyResult<FlatIds<'py>> {
        let (threads, texts) = (thread_count(threads)?, borrow_texts(texts)?);
        let (ids, offsets) = py.detach(|| {
            let rows = self.0.rows(&texts, threads);
            (rows.ids, rows.offsets.into_iter().map(|offset| offset as i64).collect::<Vec<_>>())
        });
        Ok((ids.into_pyarray(py), offsets.into_pyarray(py)))
    }

    #[pyo3(signature = (first, second, threads=None))]
    fn encode_pair_ids<'py>(
        &self,
        py: Python<'py>,
        first: &Bound<'py, PyAny>,
        second: &Bound<'py, PyAny>,
        threads: Option<i64>,
    ) -> PyResult<FlatPairs<'py>> {
        let (threads, first, second) = (thread_count(threads)?, borrow_texts(first)?, borrow_texts(second)?);
        if first.len() != second.len() {
            let rule = format!("texts, and first has {}", first.len());
            return Err(Error::invalid("second", format!("has {}", second.len()), rule).into());
        }
        let pairs: Vec<_> = first.into_iter().zip(second).collect();
        let found = py.detach(|| self.0.pair_rows(&pairs, threads))?;
        let offsets: Vec<_> = found.rows.offsets.into_iter().map(|offset| offset as i64).collect();
        Ok((found.rows.ids.into_pyarray(py), found.type_ids.into_pyarray(py), offsets.into_pyarray(py)))
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.0.tokenizer().kind()
    }

    #[getter]
    fn max_length(&self) -> Option<usize> {
        self.0.max_length()
    }

    #[getter]
    fn truncation_side(&self) -> &'static str {
        match self.0.truncation_side() {
            Side::Left => "left",
            Side::Right => "right",
        }
    }

    #[getter]
    fn pad_token_id(&self) -> Option<u32> {
        self.0.padding_id()
    }

    #[getter]
    fn vocab_size(&self) -> usize {
        self.0.tokenizer().vocabulary_size()
    }
}

#[pyclass(frozen, name = "Batch", module = "sro_screener._native")]
struct PyBatch {
    encoder: Py<PyEncoder>,
    #[pyo3(get)]
    input_ids: Py<PyArray2<i32>>,
    #[pyo3(get)]
    lengths: Py<PyArray1<i32>>,
    #[pyo3(get)]
    permutation: Py<PyArray1<i32>>,
}

impl PyBatch {
    fn new(encoder: &Bound<'_, PyEncoder>, batch: encoder::Batch) -> PyResult<Self> {
        let py = encoder.py();
        let shape = [batch.lengths.len(), batch.width];
        Ok(Self {
            encoder: encoder.clone().unbind(),
            input_ids: batch.input_ids.into_pyarray(py).reshape(shape)?.unbind(),
            lengths: batch.lengths.into_pyarray(py).unbind(),
            permutation: batch.permutation.into_pyarray(py).unbind(),
        })
    }

    /// An array of the shape of `input_ids`: of each row what `values` gives for its length, then zeros.
    fn filled<'py, I: Iterator<Item = i32>>(
        &self,
        py: Python<'py>,
        values: impl Fn(usize) -> I,
    ) -> PyResult<Bound<'py, PyArray2<i32>>> {
        let [rows, width] = self.shape(py);
        let mut all = Vec::with_capacity(rows * width);
        for (row, &length) in self.lengths.bind(py).readonly().as_slice()?.iter().enumerate() {
            all.extend(values(length as usize));
            all.resize((row + 1) * width, 0);
        }
        all.into_pyarray(py).reshape([rows, width])
    }

    fn shape(&self, py: Python<'_>) -> [usize; 2] {
        let array = self.input_ids.bind(py).readonly();
        let (rows, width) = array.as_array().dim();
        [rows, width]
    }
}

#[pymethods]
impl PyBatch {
    fn attention_mask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<i32>>> {
        self.filled(py, |length| std::iter::repeat_n(1, length))
    }

    fn token_type_ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<i32>>> {
        self.filled(py, |length| self.encoder.get().0.type_ids(length))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.shape(py)[0]
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let [rows, width] = self.shape(py);
        format!("Batch(rows={rows}, width={width})")
    }
}

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
fn verdicts<'py>(
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

#[pyclass(frozen, name = "NbLogistic", module = "sro_screener._native")]
struct PyNbLogistic(nb::NbLogistic);

#[pymethods]
impl PyNbLogistic {
    #[staticmethod]
    #[pyo3(
        signature = (vocabulary, idf, r, coef, intercept, *, ngram_range=(1, 2), lowercase=true,
                     strip_accents=Some("unicode"), sublinear_tf=true),
        text_signature = "(vocabulary, idf, r, coef, intercept, *, ngram_range=(1, 2), lowercase=True, \
                          strip_accents='unicode', sublinear_tf=True)"
    )]
    #[allow(clippy::too_many_arguments)] // One for each part of what scikit-learn fitted, all but five by keyword.
    fn from_parts<'py>(
        py: Python<'py>,
        vocabulary: &Bound<'py, PyAny>,
        idf: PyReadonlyArray1<'py, f64>,
        r: PyReadonlyArray1<'py, f64>,
        coef: PyReadonlyArray1<'py, f64>,
        intercept: f64,
        ngram_range: (i64, i64),
        lowercase: bool,
        strip_accents: Option<&str>,
        sublinear_tf: bool,
    ) -> PyResult<Self> {
        let strip_accents = match strip_accents {
            None => false,
            Some("unicode") => true,
            Some(other) => {
                return Err(Error::unsupported("strip_accents", format!("{other:?}"), "unicode, None").into());
            }
        };
        let settings = nb::Settings {
            least_words: count("ngram_range[0]", ngram_range.0)?,
            most_words: count("ngram_range[1]", ngram_range.1)?,
            lowercase,
            strip_accents,
            sublinear_tf,
        };
        let vocabulary = borrow_texts(vocabulary)?;
        let (idf, r, coef) = (idf.as_slice()?, r.as_slice()?, coef.as_slice()?);
        let parts = nb::Parts { vocabulary: &vocabulary, idf, r, coef, intercept };
        Ok(Self(py.detach(|| nb::NbLogistic::new(parts, settings))?))
    }

    #[pyo3(signature = (texts, threads=None))]
    fn score<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        threads: Option<i64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (threads, texts) = (thread_count(threads)?, borrow_texts(texts)?);
        Ok(py.detach(|| self.0.score(&texts, threads)).into_pyarray(py))
    }

    #[pyo3(signature = (texts, threshold=0.5, threads=None))]
    fn verdicts<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        threshold: f64,
        threads: Option<i64>,
    ) -> PyResult<Judged<'py, f64>> {
        let threshold = verdict::checked_threshold(threshold)?;
        let (threads, texts) = (thread_count(threads)?, borrow_texts(texts)?);
        let scores = py.detach(|| self.0.score(&texts, threads));
        let passed: Vec<bool> = scores.iter().map(|&score| score < threshold).collect();
        Ok((scores.into_pyarray(py), passed.into_pyarray(py)))
    }

    #[getter]
    fn weights<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.0.weights().to_vec().into_pyarray(py)
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }
}

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{PyBatch, PyEncoder, PyNbLogistic, verdicts};
}
