//! Everything that can go wrong, one variant per cause.

use std::fmt;

/// The one error type of the crate; `py` maps it to Python exceptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A file could not be read.
    Io {
        /// The path as given.
        path: String,
        /// What the operating system said.
        reason: String,
    },
    /// A tokenizer file is no JSON.
    Json {
        /// What the parser said, with line and column.
        reason: String,
    },
    /// A tokenizer or a model asks for something this crate does not reproduce exactly, so it is refused.
    Unsupported {
        /// Where it stands, such as `pre_tokenizer.pretokenizers[0].type`.
        field: String,
        /// What stands there.
        found: String,
        /// What may stand there.
        supported: &'static str,
    },
    /// A value breaks a rule of its field.
    Invalid {
        /// Where it stands.
        field: String,
        /// What stands there.
        found: String,
        /// The rule it breaks.
        rule: String,
    },
    /// An element of `texts` is no text.
    NotText {
        /// Its place in the caller's list.
        row: usize,
        /// What it is instead.
        found: String,
    },
    /// A logit is NaN or infinite: compared with a threshold, NaN would pass.
    NotFinite {
        /// Row of the logits array.
        row: usize,
        /// Column of the logits array.
        column: usize,
        /// `NaN`, `inf` or `-inf`.
        found: String,
    },
    /// The caller asked for the end of the call.
    Interrupted,
}

/// Result with the crate's error.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A value that breaks a rule of its field.
    pub fn invalid(field: impl Into<String>, found: impl fmt::Display, rule: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), found: found.to_string(), rule: rule.into() }
    }

    /// A feature that is refused by its name.
    pub fn unsupported(field: impl Into<String>, found: impl fmt::Display, supported: &'static str) -> Self {
        Self::Unsupported { field: field.into(), found: found.to_string(), supported }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, reason } => write!(f, "{path}: {reason}"),
            Self::Json { reason } => write!(f, "tokenizer file: not JSON: {reason}"),
            Self::Unsupported { field, found, supported } => {
                write!(f, "{field}: {found} is not supported; supported: {supported}")
            }
            Self::Invalid { field, found, rule } => write!(f, "{field}: {found} {rule}"),
            Self::NotText { row, found } => write!(f, "texts[{row}]: {found}"),
            Self::NotFinite { row, column, found } => {
                write!(f, "logits[{row}, {column}]: {found} is not finite, so it has no verdict")
            }
            Self::Interrupted => write!(f, "interrupted"),
        }
    }
}

impl std::error::Error for Error {}
