//! Threads for the calls: one pool for each process, built when it is first needed and left behind by a fork.
//!
//! A forked child inherits the memory of a pool but none of its threads, so it would wait for ever. The pool therefore
//! carries the id of its process, and a child builds its own. The calling thread always takes part: a call comes to an end
//! even where the pool is busy with others.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::{process, thread};

use rayon_core::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// Overrides the number of threads where a call gives none.
pub const VARIABLE: &str = "SRO_SCREENER_THREADS";

/// Fewer bytes than this are not worth a thread.
const LEAST_BYTES: usize = 32 * 1024;

/// More bytes than this are not worked on without asking whether to stop; some milliseconds.
const MOST_BYTES: usize = 256 * 1024;

/// Parts for each thread, so that a slow one does not hold up the others.
const PARTS: usize = 4;

/// Who works on a call.
#[derive(Clone, Copy)]
pub struct Workers<'a> {
    /// Threads, the calling one included; at least 1.
    pub threads: usize,
    /// Asked by the calling thread between two parts of the work: true ends the call.
    pub is_interrupted: &'a dyn Fn() -> bool,
}

impl Workers<'_> {
    /// So many threads that nobody interrupts.
    pub fn new(threads: usize) -> Self {
        Self { threads, is_interrupted: &|| false }
    }
}

/// Threads of a call: as asked for, or [`VARIABLE`], or one for each core that this process may use by its affinity and its
/// control group (version 1 and 2).
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
        (None, Err(_)) => Ok(available()),
    }
}

/// Cores of this process. Asking the system opens several files, so the answer is kept, beside the process it was for.
fn available() -> usize {
    static KNOWN: AtomicU64 = AtomicU64::new(0);
    let own = u64::from(process::id());
    let known = KNOWN.load(Ordering::Relaxed);
    if known >> 32 == own {
        return (known & u64::from(u32::MAX)) as usize;
    }
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    KNOWN.store(own << 32 | cores as u64 & u64::from(u32::MAX), Ordering::Relaxed);
    cores
}

/// Applies `work` to consecutive parts of the items and returns the results in order; none where it was interrupted.
///
/// # Errors
/// [`Error::Interrupted`].
pub(crate) fn map_chunks<T: Sync, R: Send>(
    items: &[T],
    sizes: impl Iterator<Item = usize>,
    workers: Workers<'_>,
    work: impl Fn(&[T]) -> R + Sync,
) -> Result<Vec<R>> {
    let chunks = cut(items, sizes, workers.threads);
    let job = Job {
        chunks: &chunks,
        next: AtomicUsize::new(0),
        stopped: AtomicBool::new(false),
        done: Mutex::default(),
    };
    let helpers = workers.threads.min(chunks.len()).saturating_sub(1);
    with_helpers(helpers, &|| job.run(&work, &|| false), || job.run(&work, workers.is_interrupted));
    if job.stopped.into_inner() {
        return Err(Error::Interrupted);
    }
    let mut done = job.done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_unstable_by_key(|&(index, _)| index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// Parts of a call that threads take one after the other.
struct Job<'a, T, R> {
    chunks: &'a [&'a [T]],
    next: AtomicUsize,
    stopped: AtomicBool,
    done: Mutex<Vec<(usize, R)>>,
}

impl<T, R> Job<'_, T, R> {
    fn run(&self, work: &impl Fn(&[T]) -> R, is_interrupted: &dyn Fn() -> bool) {
        let mut own = Vec::new();
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(chunk) = self.chunks.get(index) else { break };
            if self.stopped.load(Ordering::Relaxed) || is_interrupted() {
                self.stopped.store(true, Ordering::Relaxed);
                break;
            }
            own.push((index, work(chunk)));
        }
        self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).append(&mut own);
    }
}

/// Runs `own` here and `help` on other threads meanwhile.
fn with_helpers(helpers: usize, help: &(impl Fn() + Sync), own: impl FnOnce()) {
    if helpers == 0 {
        return own();
    }
    match pool(helpers) {
        Some(pool) => pool.in_place_scope(|scope| {
            (0..helpers).for_each(|_| scope.spawn(|_| help()));
            own();
        }),
        None => thread::scope(|scope| {
            (0..helpers).for_each(|_| _ = scope.spawn(help));
            own();
        }),
    }
}

struct Pool {
    process: u32,
    threads: usize,
    pool: Arc<ThreadPool>,
}

/// This process's pool with so many threads or more. None where it cannot be had: threads are refused, or the lock was held
/// when the process was forked, by a thread that is not here to release it.
fn pool(threads: usize) -> Option<Arc<ThreadPool>> {
    static POOL: Mutex<Option<Pool>> = Mutex::new(None);
    let mut held = POOL.try_lock().ok()?;
    let process = process::id();
    if let Some(inherited) = held.take_if(|pool| pool.process != process) {
        // Dropping it would wait for threads that are not here.
        std::mem::forget(inherited);
    }
    if held.as_ref().is_none_or(|pool| pool.threads < threads) {
        let name = |index| format!("sro-screener-{index}");
        let pool = Arc::new(ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build().ok()?);
        *held = Some(Pool { process, threads, pool });
    }
    held.as_ref().map(|held| Arc::clone(&held.pool))
}

fn cut<T>(items: &[T], sizes: impl Iterator<Item = usize>, threads: usize) -> Vec<&[T]> {
    let ends: Vec<usize> = sizes
        .scan(0, |sum, size| {
            *sum += size + 1;
            Some(*sum)
        })
        .collect();
    let total = ends.last().copied().unwrap_or(0);
    let parts = if threads > 1 { threads * PARTS } else { 1 };
    let size = (total / parts).clamp(LEAST_BYTES, MOST_BYTES);
    let mut chunks = Vec::with_capacity(total / size + 1);
    let (mut start, mut before) = (0, 0);
    while start < items.len() {
        let end = ends.partition_point(|&end| end <= before + size).max(start + 1);
        let end = if total - before < size + size / 2 { items.len() } else { end };
        chunks.push(&items[start..end]);
        (start, before) = (end, ends[end - 1]);
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
            let sizes = items.iter().map(|&item| item * 1000);
            let parts = map_chunks(&items, sizes, Workers::new(threads), <[usize]>::to_vec).unwrap();
            assert!(parts.len() > 1);
            assert_eq!(parts.concat(), items);
        }
    }

    #[test]
    fn no_thread_is_started_for_little_text() {
        let two = Workers::new(8);
        assert_eq!(map_chunks(&["a", "b"], [1, 1].into_iter(), two, <[&str]>::len), Ok(vec![2]));
        assert_eq!(map_chunks(&[] as &[&str], std::iter::empty(), two, <[&str]>::len), Ok(vec![]));
    }

    #[test]
    fn a_text_of_any_size_is_a_chunk_of_its_own() {
        let chunks = cut(&[1, 2, 3, 4], [1, 10 * MOST_BYTES, 1, 1].into_iter(), 2);
        assert_eq!(chunks, [&[1][..], &[2], &[3, 4]]);
    }

    #[test]
    fn an_interrupted_call_ends_early_with_an_error() {
        let items = vec![0; 1000];
        let caller = thread::current().id();
        for threads in [1, 3] {
            let (asked, worked) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let is_interrupted = || asked.fetch_add(1, Ordering::Relaxed) >= 2;
            let workers = Workers { threads, is_interrupted: &is_interrupted };
            let sizes = items.iter().map(|_| MOST_BYTES);
            let work = |_: &[i32]| {
                worked.fetch_add(1, Ordering::Relaxed);
                // Helpers wait, or they would have done everything before the caller asks.
                while thread::current().id() != caller && asked.load(Ordering::Relaxed) < 3 {
                    thread::yield_now();
                }
            };
            assert_eq!(map_chunks(&items, sizes, workers, work), Err(Error::Interrupted));
            assert!(worked.into_inner() < 100);
        }
    }

    #[test]
    fn many_callers_share_the_pool() {
        let items: Vec<usize> = (0..500).collect();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let sizes = items.iter().map(|_| LEAST_BYTES);
                    let parts = map_chunks(&items, sizes, Workers::new(3), <[usize]>::to_vec).unwrap();
                    assert_eq!(parts.concat(), items);
                });
            }
        });
    }

    #[test]
    fn no_threads_at_all_are_refused() {
        assert_eq!(threads(Some(0)).unwrap_err().to_string(), "threads: 0 is less than 1");
    }
}
