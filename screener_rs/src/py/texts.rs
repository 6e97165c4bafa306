//! Texts as Python holds them, borrowed.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyString;

use crate::error::Error;

/// Borrows the UTF-8 of each text; a lone surrogate has none, so its row is named.
pub(super) fn borrow_texts(texts: &Bound<'_, PyAny>) -> PyResult<Vec<PyBackedStr>> {
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
