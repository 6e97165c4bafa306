//! Texts as their owner holds them, borrowed: a list of `str`, an array of such objects, or a column of Arrow strings.

use numpy::{PyReadonlyArray1, PyUntypedArray};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyString;

use crate::error::Error;

/// Texts of one call; keeps their owners alive.
pub(super) enum Texts<'py> {
    Strings(Vec<PyBackedStr>),
    Columns(Vec<Column<'py>>),
}

impl<'py> Texts<'py> {
    /// From anything that holds texts.
    pub fn read(texts: &Bound<'py, PyAny>) -> PyResult<Self> {
        if texts.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err("texts: one str is not a list of them"));
        }
        match arrow_chunks(texts)? {
            Some(chunks) => {
                let mut first = 0;
                let read = |chunk: &Bound<'py, PyAny>| {
                    let column = Column::read(chunk, first)?;
                    first += column.count;
                    Ok(column)
                };
                Ok(Self::Columns(chunks.iter().map(read).collect::<PyResult<_>>()?))
            }
            None => Ok(Self::Strings(borrow_strings(texts)?)),
        }
    }

    /// The UTF-8 of each text.
    pub fn borrowed(&self) -> PyResult<Vec<&str>> {
        match self {
            Self::Strings(strings) => Ok(strings.iter().map(AsRef::as_ref).collect()),
            Self::Columns(columns) => {
                let mut all = Vec::with_capacity(columns.iter().map(|column| column.count).sum());
                columns.iter().try_for_each(|column| column.append_to(&mut all))?;
                Ok(all)
            }
        }
    }
}

/// Borrows the UTF-8 of each text; a lone surrogate has none, so its row is named.
fn borrow_strings(texts: &Bound<'_, PyAny>) -> PyResult<Vec<PyBackedStr>> {
    let mut borrowed = Vec::with_capacity(texts.len().unwrap_or(0));
    for (row, text) in texts.try_iter()?.enumerate() {
        let text = text?;
        let Ok(string) = text.cast_into::<PyString>() else { return Err(not_text(texts, row)) };
        let py = string.py();
        let refused = |error: PyErr| {
            PyValueError::new_err(format!("texts[{row}]: has a lone surrogate: {}", error.value(py)))
        };
        borrowed.push(PyBackedStr::try_from(string).map_err(refused)?);
    }
    Ok(borrowed)
}

/// Said on the way out alone: no error is built for a text that is one.
fn not_text(texts: &Bound<'_, PyAny>, row: usize) -> PyErr {
    let name = |texts: &Bound<'_, PyAny>| -> PyResult<String> {
        Ok(texts.get_item(row)?.get_type().name()?.to_string())
    };
    let kind = name(texts).unwrap_or_else(|_| "the element".to_owned());
    Error::NotText { row, found: format!("{kind} is not a str") }.into()
}

/// The arrays of an Arrow column; none where it is something else. Whoever gives Arrow data without being pyarrow's is
/// taken over by pyarrow, through the C data interface.
fn arrow_chunks<'py>(texts: &Bound<'py, PyAny>) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
    if texts.hasattr("chunks")? && texts.hasattr("null_count")? {
        return Ok(Some(texts.getattr("chunks")?.extract()?));
    }
    if texts.hasattr("buffers")? && texts.hasattr("null_count")? {
        return Ok(Some(vec![texts.clone()]));
    }
    let taken_over = |how: &str| arrow_chunks(&texts.py().import("pyarrow")?.call_method1(how, (texts,))?);
    if texts.hasattr("__arrow_c_stream__")? {
        return taken_over("chunked_array");
    }
    if texts.hasattr("__arrow_c_array__")? { taken_over("array") } else { Ok(None) }
}

/// One Arrow array of strings, in its own buffers.
pub(super) struct Column<'py> {
    /// Rows of the chunks before it.
    first: usize,
    count: usize,
    offset: usize,
    ends: Ends<'py>,
    data: Option<PyReadonlyArray1<'py, u8>>,
}

enum Ends<'py> {
    Narrow(PyReadonlyArray1<'py, i32>),
    Wide(PyReadonlyArray1<'py, i64>),
    None,
}

impl<'py> Column<'py> {
    fn read(array: &Bound<'py, PyAny>, first: usize) -> PyResult<Self> {
        let kind = array.getattr("type")?.str()?.to_string();
        if kind != "string" && kind != "large_string" {
            return Err(Error::unsupported(
                "texts",
                format!("an Arrow array of {kind}"),
                "string, large_string",
            )
            .into());
        }
        if array.getattr("null_count")?.extract::<usize>()? > 0 {
            let nulls = array.call_method0("is_null")?.call_method0("to_pylist")?;
            let row = first + nulls.call_method1("index", (true,))?.extract::<usize>()?;
            return Err(Error::NotText { row, found: "null is not a str".to_owned() }.into());
        }
        let (count, offset) = (array.len()?, array.getattr("offset")?.extract()?);
        let buffers = array.call_method0("buffers")?;
        let view = |index: usize, dtype: &str| -> PyResult<Option<Bound<'py, PyUntypedArray>>> {
            let buffer = buffers.get_item(index)?;
            if buffer.is_none() || buffer.len()? == 0 {
                return Ok(None);
            }
            let array = array.py().import("numpy")?.call_method1("frombuffer", (buffer, dtype))?;
            Ok(Some(array.cast_into::<PyUntypedArray>()?))
        };
        let ends = match view(1, if kind == "string" { "int32" } else { "int64" })? {
            None => Ends::None,
            Some(ends) if kind == "string" => Ends::Narrow(ends.extract()?),
            Some(ends) => Ends::Wide(ends.extract()?),
        };
        let data = match view(2, "uint8")? {
            Some(data) => Some(data.extract()?),
            None => None,
        };
        Ok(Self { first, count, offset, ends, data })
    }

    fn append_to<'a>(&'a self, all: &mut Vec<&'a str>) -> PyResult<()> {
        match &self.ends {
            Ends::Narrow(ends) => self.append(ends.as_slice()?, all),
            Ends::Wide(ends) => self.append(ends.as_slice()?, all),
            Ends::None if self.count == 0 => Ok(()),
            Ends::None => Err(self.broken(0)),
        }
    }

    fn append<'a, E: Copy + TryInto<usize>>(&'a self, ends: &[E], all: &mut Vec<&'a str>) -> PyResult<()> {
        let ends = ends.get(self.offset..=self.offset + self.count).ok_or_else(|| self.broken(0))?;
        let place = |row: usize| ends[row].try_into().map_err(|_| self.broken(row));
        let bytes = self.data.as_ref().map(|data| data.as_slice()).transpose()?.unwrap_or_default();
        let (from, to) = (place(0)?, place(self.count)?);
        let bytes = bytes.get(from..to).ok_or_else(|| self.broken(0))?;
        // All at once, which is several times faster than text by text; which one it is matters only if one is wrong.
        let whole = std::str::from_utf8(bytes);
        for row in 0..self.count {
            let range = (place(row)?.wrapping_sub(from))..(place(row + 1)?.wrapping_sub(from));
            let text = match whole {
                Ok(whole) => whole.get(range),
                Err(_) => bytes.get(range).and_then(|bytes| std::str::from_utf8(bytes).ok()),
            };
            all.push(text.ok_or_else(|| self.broken(row))?);
        }
        Ok(())
    }

    fn broken(&self, row: usize) -> PyErr {
        PyValueError::new_err(format!("texts[{}]: is not UTF-8", self.first + row))
    }
}
