//! Work outside the interpreter, that a signal's handler can end.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::maybe_count;
use crate::error::{Error, Result};
use crate::parallel::{self, Workers};

/// Between two looks at the signals. A look takes the interpreter, which others may hold for 5 ms.
const PATIENCE: Duration = Duration::from_millis(25);

/// The number of threads that a call asks for, or the machine's.
pub(super) fn threads(asked: Option<i64>) -> Result<usize> {
    parallel::threads(maybe_count("threads", asked)?)
}

/// Runs `work` detached from the interpreter; an exception that a signal's handler raises ends it.
pub(super) fn detached<R: Send>(
    py: Python<'_>,
    threads: usize,
    work: impl Send + FnOnce(Workers<'_>) -> Result<R>,
) -> PyResult<R> {
    let (result, raised) = py.detach(|| {
        let (last, raised) = (Cell::new(Instant::now()), RefCell::new(None));
        let is_interrupted = || {
            if last.get().elapsed() < PATIENCE {
                return false;
            }
            let signals = Python::attach(|py| py.check_signals());
            last.set(Instant::now());
            signals.map_err(|error| raised.replace(Some(error))).is_err()
        };
        let result = work(Workers { threads, is_interrupted: &is_interrupted });
        (result, raised.into_inner())
    });
    match (result, raised) {
        (Err(Error::Interrupted), Some(error)) => Err(error),
        (result, _) => Ok(result?),
    }
}
