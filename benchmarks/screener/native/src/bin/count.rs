//! The fixed workload whose instructions valgrind counts: every line once, cold, in batches. Prints bytes and tokens.

use std::hint::black_box;

use sro_screener::encoder::{Batch, Budget, Encoder};
use sro_screener::parallel::Workers;

/// Its name is what `valgrind --toggle-collect` is given.
#[inline(never)]
fn counted_region(encoder: &Encoder, texts: &[String]) -> Vec<Batch> {
    let rows = encoder.rows(texts, Workers::new(1)).expect("rows");
    encoder.batches(&rows, Budget { max_tokens: 4096, max_rows: usize::MAX }).expect("batches")
}

fn main() {
    let (encoder, texts) = sro_screener_measure::load(Some(128));
    let batches = black_box(counted_region(&encoder, &texts));
    let tokens: i64 = batches.iter().flat_map(|batch| &batch.lengths).map(|&length| i64::from(length)).sum();
    println!("{} {tokens}", texts.iter().map(String::len).sum::<usize>());
}
