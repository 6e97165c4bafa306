//! Exact, fast scoring of short texts.
//!
//! Four parts, each usable alone: [`tokenizer`] turns text into the ids of Hugging Face `tokenizers`, [`encoder`]
//! packs many texts into batches of like length, [`verdict`] turns logits into scores and verdicts, and [`nb`] scores
//! text with a linear bag-of-words model. All of PyO3 is in `py`.

pub mod encoder;
pub mod error;
pub mod forms;
mod hash;
pub mod nb;
pub mod parallel;
#[cfg(feature = "python")]
mod py;
pub mod tokenizer;
mod unicode;
pub mod verdict;

pub use error::{Error, Result};
