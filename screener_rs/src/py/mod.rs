//! All of PyO3: the classes and functions of `sro_screener._native`, documented in `_native.pyi`.

mod encoder;
mod flat;
mod nb;
mod texts;
mod verdicts;
mod workers;

use pyo3::exceptions::{PyKeyboardInterrupt, PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::error::{Error, Result};

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match &error {
            Error::Io { .. } => PyOSError::new_err(error.to_string()),
            Error::NotText { .. } => PyTypeError::new_err(error.to_string()),
            Error::Interrupted => PyKeyboardInterrupt::new_err(()),
            _ => PyValueError::new_err(error.to_string()),
        }
    }
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

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::encoder::{PyBatch, PyEncoder};
    #[pymodule_export]
    use super::flat::PyFlat;
    #[pymodule_export]
    use super::nb::PyNbLogistic;
    #[pymodule_export]
    use super::verdicts::{PyJudgements, combine, judge, verdicts};
}
