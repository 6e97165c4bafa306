//! `Encoder` and what it gives.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

use super::flat::{Buffers, PyFlat, filled};
use super::texts::Texts;
use super::workers::{detached, threads as thread_count};
use super::{count, maybe_count};
use crate::encoder::{self, Budget};
use crate::error::{Error, Result};
use crate::forms::{Form, Layout};
use crate::parallel::Workers;
use crate::tokenizer::{Side, Tokenizer};

type FlatPairs<'py> = (Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<i64>>);
type FlatIds<'py> = (Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<i64>>);

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

fn budget(max_tokens: i64, max_rows: Option<i64>) -> Result<Budget> {
    Ok(Budget {
        max_tokens: count("max_tokens", max_tokens)?,
        max_rows: maybe_count("max_rows", max_rows)?.unwrap_or(usize::MAX),
    })
}

#[pyclass(frozen, name = "Encoder", module = "sro_screener._native")]
pub(super) struct PyEncoder(encoder::Encoder);

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
        let budget = budget(max_tokens, max_rows)?;
        let (threads, texts, this) = (thread_count(threads)?, Texts::read(texts)?, &slf.get().0);
        let texts = texts.borrowed()?;
        let work = |workers: Workers<'_>| this.batches(&this.rows(&texts, workers)?, budget);
        let batches = detached(slf.py(), threads, work)?;
        batches.into_iter().map(|batch| PyBatch::new(slf, batch)).collect()
    }

    #[pyo3(signature = (texts, max_tokens=4096, max_rows=None, *, packed=false, dtype="int32", out=None, threads=None))]
    #[allow(clippy::too_many_arguments)] // Budget and form of the call, all but two by keyword.
    fn encode_flat<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        max_tokens: i64,
        max_rows: Option<i64>,
        packed: bool,
        dtype: &str,
        out: Option<Buffers<'py>>,
        threads: Option<i64>,
    ) -> PyResult<PyFlat> {
        let budget = budget(max_tokens, max_rows)?;
        let form = if packed { Form::Packed } else { Form::Padded };
        let (threads, texts) = (thread_count(threads)?, Texts::read(texts)?);
        let texts = texts.borrowed()?;
        let (rows, layout) = detached(py, threads, |workers| {
            let rows = self.0.rows(&texts, workers)?;
            let layout = Layout::of(&rows, budget, form);
            Ok((rows, layout))
        })?;
        let padding_id = self.0.padding_id();
        let buffers = match dtype {
            "int32" => filled::<i32>(py, &rows, &layout, padding_id, out)?,
            "int64" => filled::<i64>(py, &rows, &layout, padding_id, out)?,
            other => {
                return Err(
                    Error::invalid("dtype", format!("{other:?}"), "is not \"int32\" or \"int64\"").into()
                );
            }
        };
        PyFlat::new(py, &rows, layout, buffers)
    }

    #[pyo3(signature = (texts, threads=None))]
    fn encode_ids<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        threads: Option<i64>,
    ) -> PyResult<FlatIds<'py>> {
        let (threads, texts) = (thread_count(threads)?, Texts::read(texts)?);
        let texts = texts.borrowed()?;
        let (ids, offsets) = detached(py, threads, |workers| {
            let rows = self.0.rows(&texts, workers)?;
            Ok((rows.ids, rows.offsets.into_iter().map(|offset| offset as i64).collect::<Vec<_>>()))
        })?;
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
        let (threads, first, second) = (thread_count(threads)?, Texts::read(first)?, Texts::read(second)?);
        let (first, second) = (first.borrowed()?, second.borrowed()?);
        if first.len() != second.len() {
            let rule = format!("texts, and first has {}", first.len());
            return Err(Error::invalid("second", format!("has {}", second.len()), rule).into());
        }
        let pairs: Vec<_> = first.into_iter().zip(second).collect();
        let found = detached(py, threads, |workers| self.0.pair_rows(&pairs, workers))?;
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
pub(super) struct PyBatch {
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
