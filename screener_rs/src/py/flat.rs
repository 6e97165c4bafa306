//! All batches of a call as flat arrays, in the caller's buffers or in new ones.

use numpy::{Element, IntoPyArray, PyArray1, PyArrayMethods, PyReadwriteArray1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::encoder::Rows;
use crate::error::Error;
use crate::forms::{Form, Integer, Layout};

/// Arrays for the ids and for what stands beside them.
pub(super) type Buffers<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

#[pyclass(frozen, get_all, name = "Flat", module = "sro_screener._native")]
pub(super) struct PyFlat {
    input_ids: Py<PyAny>,
    beside: Py<PyAny>,
    lengths: Py<PyArray1<i32>>,
    permutation: Py<PyArray1<i32>>,
    inverse: Py<PyArray1<i32>>,
    cu_seqlens: Option<Py<PyArray1<i32>>>,
    first_rows: Py<PyArray1<i64>>,
    first_tokens: Py<PyArray1<i64>>,
    widths: Py<PyArray1<i32>>,
}

impl PyFlat {
    pub fn new(
        py: Python<'_>,
        rows: &Rows,
        layout: Layout,
        buffers: (Py<PyAny>, Py<PyAny>),
    ) -> PyResult<Self> {
        let ends = |end: &dyn Fn(&crate::forms::Span) -> usize| {
            let all: Vec<i64> =
                std::iter::once(0).chain(layout.spans.iter().map(|span| end(span) as i64)).collect();
            all.into_pyarray(py).unbind()
        };
        let widths: Vec<i32> = layout.spans.iter().map(|span| span.width as i32).collect();
        let cu_seqlens =
            (layout.form == Form::Packed).then(|| layout.cu_seqlens(rows).into_pyarray(py).unbind());
        Ok(Self {
            input_ids: buffers.0,
            beside: buffers.1,
            lengths: layout.lengths(rows).into_pyarray(py).unbind(),
            cu_seqlens,
            first_rows: ends(&|span| span.rows.end),
            first_tokens: ends(&|span| span.tokens.end),
            widths: widths.into_pyarray(py).unbind(),
            permutation: layout.permutation.into_pyarray(py).unbind(),
            inverse: layout.inverse.into_pyarray(py).unbind(),
        })
    }
}

/// The ids and what stands beside them, in the caller's buffers or in new ones.
pub(super) fn filled<T: Integer + Element + Default + Send>(
    py: Python<'_>,
    rows: &Rows,
    layout: &Layout,
    padding_id: Option<u32>,
    out: Option<Buffers<'_>>,
) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
    let Some((ids, beside)) = out else {
        let (ids, beside) = py.detach(|| {
            let mut buffers = (vec![T::default(); layout.tokens()], vec![T::default(); layout.tokens()]);
            layout.fill(rows, padding_id, &mut buffers.0, Some(&mut buffers.1))?;
            Ok::<_, Error>(buffers)
        })?;
        return Ok((ids.into_pyarray(py).into_any().unbind(), beside.into_pyarray(py).into_any().unbind()));
    };
    let (mut own_ids, mut own_beside) = (writable::<T>("out[0]", &ids)?, writable::<T>("out[1]", &beside)?);
    let (ids, beside) = (room("out[0]", &mut own_ids, layout)?, room("out[1]", &mut own_beside, layout)?);
    py.detach(|| layout.fill(rows, padding_id, ids, Some(beside)))?;
    let part = |array: &PyReadwriteArray1<'_, T>| -> PyResult<Py<PyAny>> {
        let whole = pyo3::types::PySlice::new(py, 0, layout.tokens() as isize, 1);
        Ok(array.as_any().get_item(whole)?.unbind())
    };
    Ok((part(&own_ids)?, part(&own_beside)?))
}

fn writable<'py, T: Element>(name: &str, array: &Bound<'py, PyAny>) -> PyResult<PyReadwriteArray1<'py, T>> {
    let wrong =
        || PyTypeError::new_err(format!("{name}: is not a one-dimensional array of the call's dtype"));
    let array = array.cast::<PyArray1<T>>().map_err(|_| wrong())?;
    array.try_readwrite().map_err(|error| PyTypeError::new_err(format!("{name}: {error}")))
}

fn room<'a, T: Element>(
    name: &str,
    array: &'a mut PyReadwriteArray1<'_, T>,
    layout: &Layout,
) -> PyResult<&'a mut [T]> {
    let tokens = layout.tokens();
    let length = array.as_array().len();
    let rule = || format!("is less room than the {tokens} tokens of this call need");
    let slice =
        array.as_slice_mut().map_err(|_| PyTypeError::new_err(format!("{name}: is not contiguous")))?;
    Ok(slice.get_mut(..tokens).ok_or_else(|| Error::invalid(name, length, rule()))?)
}
