//! Bytes per second of one core, without Python: `speed TOKENIZER TEXTS`. The best of all rounds, one line per figure.

use std::hint::black_box;
use std::time::{Duration, Instant};

use sro_screener::parallel::Workers;

const ROUNDS: usize = 31;
/// Far beyond the caches.
const LARGE: usize = 64 << 20;

fn best(mut work: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed());
    }
    best.as_secs_f64()
}

fn main() {
    let (encoder, texts) = sro_screener_measure::load(None);
    let bytes: usize = texts.iter().map(String::len).sum();
    let report = |name: &str, bytes: usize, seconds: f64| {
        println!("{name} {:.0} MB/s", bytes as f64 / seconds / 1e6);
    };
    report("encode", bytes, best(|| drop(black_box(encoder.rows(&texts, Workers::new(1))))));
    let all = texts.join("\n").into_bytes();
    let large: Vec<u8> = all.iter().copied().cycle().take(LARGE / all.len() * all.len()).collect();
    let mut copy = vec![0; large.len()];
    report("utf-8 of these texts, simdutf8", all.len(), best(|| drop(black_box(simdutf8::basic::from_utf8(&all)))));
    report("utf-8 of 64 MiB, simdutf8", large.len(), best(|| drop(black_box(simdutf8::basic::from_utf8(&large)))));
    report("utf-8 of 64 MiB, std", large.len(), best(|| drop(black_box(std::str::from_utf8(&large)))));
    report("read of 64 MiB", large.len(), best(|| {
        black_box(large.as_chunks::<8>().0.iter().fold(0u64, |sum, word| sum ^ u64::from_le_bytes(*word)));
    }));
    report("copy of 64 MiB", large.len(), best(|| copy.copy_from_slice(black_box(&large))));
}
