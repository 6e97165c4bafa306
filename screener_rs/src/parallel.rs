//! Threads for one call: started for it and gone after it, so that a forked child inherits no pool.

use std::num::NonZero;
use std::thread;

use crate::error::{Error, Result};

/// Overrides the number of threads where a call gives none.
pub const VARIABLE: &str = "SRO_SCREENER_THREADS";

/// Fewer bytes than this are not worth a thread.
const LEAST_BYTES: usize = 32 * 1024;

/// Threads of a call: as asked for, or [`VARIABLE`], or one for each core that this process may use.
///
/// # Errors
/// [`Error::Invalid`] where the count is no positive number.
pub fn threads(asked: Option<usize>) -> Result<usize> {
    match (asked, std::env::var(VARIABLE)) {
        (Some(0), _) => Err(Error::invalid("threads", 0, "is less than 1")),
        (Some(count), _) => Ok(count),
        (None, Ok(text)) => match text.trim().parse() {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(Error::invalid(VARIABLE, format!("{text:?}"), "is not a number of threads, 1 or more")),
        },
        (None, Err(_)) => Ok(thread::available_parallelism().map_or(1, NonZero::get)),
    }
}

/// Applies `work` to consecutive chunks of about equal size and returns the results in order.
pub(crate) fn map_chunks<T: Sync, R: Send>(
    items: &[T],
    sizes: impl Iterator<Item = usize>,
    threads: usize,
    work: impl Fn(&[T]) -> R + Sync,
) -> Vec<R> {
    let chunks = cut(items, sizes, threads);
    let Some((last, others)) = chunks.split_last() else { return Vec::new() };
    let work = &work;
    thread::scope(|scope| {
        let running: Vec<_> = others.iter().map(|chunk| scope.spawn(move || work(chunk))).collect();
        let own = work(last);
        let finish = |handle: thread::ScopedJoinHandle<'_, R>| {
            handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        running.into_iter().map(finish).chain(std::iter::once_with(|| own)).collect()
    })
}

fn cut<T>(items: &[T], sizes: impl Iterator<Item = usize>, threads: usize) -> Vec<&[T]> {
    let ends: Vec<usize> = sizes
        .scan(0, |sum, size| {
            *sum += size + 1;
            Some(*sum)
        })
        .collect();
    let total = ends.last().copied().unwrap_or(0);
    let count = threads.min(total.div_ceil(LEAST_BYTES)).max(1);
    let mut chunks = Vec::with_capacity(count);
    let mut start = 0;
    for part in 1..=count {
        let end = if part == count {
            items.len()
        } else {
            ends.partition_point(|&end| end <= total / count * part)
        };
        if end > start {
            chunks.push(&items[start..end]);
            start = end;
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_all_items_in_order() {
        let items: Vec<usize> = (0..100).collect();
        for threads in [1, 2, 3, 7, 200] {
            let parts = map_chunks(&items, items.iter().map(|&item| item * 1000), threads, <[usize]>::to_vec);
            assert_eq!(parts.len(), threads.min(100).min(parts.len()));
            assert!(threads == 1 || parts.len() > 1);
            assert_eq!(parts.concat(), items);
        }
    }

    #[test]
    fn no_thread_is_started_for_little_text() {
        assert_eq!(map_chunks(&["a", "b"], [1, 1].into_iter(), 8, <[&str]>::len), [2]);
        assert_eq!(map_chunks(&[] as &[&str], std::iter::empty(), 8, <[&str]>::len), [] as [usize; 0]);
    }

    #[test]
    fn no_threads_at_all_are_refused() {
        assert_eq!(threads(Some(0)).unwrap_err().to_string(), "threads: 0 is less than 1");
    }
}
