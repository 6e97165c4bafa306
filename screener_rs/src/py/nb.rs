//! The linear screener.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use super::count;
use super::texts::Texts;
use super::verdicts::Judged;
use super::workers::{detached, threads as thread_count};
use crate::error::Error;
use crate::{nb, verdict};

#[pyclass(frozen, name = "NbLogistic", module = "sro_screener._native")]
pub(super) struct PyNbLogistic(nb::NbLogistic);

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
        let vocabulary = Texts::read(vocabulary)?;
        let vocabulary = vocabulary.borrowed()?;
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
        let (threads, texts) = (thread_count(threads)?, Texts::read(texts)?);
        let texts = texts.borrowed()?;
        Ok(detached(py, threads, |workers| self.0.score(&texts, workers))?.into_pyarray(py))
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
        let (threads, texts) = (thread_count(threads)?, Texts::read(texts)?);
        let texts = texts.borrowed()?;
        let scores = detached(py, threads, |workers| self.0.score(&texts, workers))?;
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
