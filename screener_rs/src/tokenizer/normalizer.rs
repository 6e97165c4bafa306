//! Normalising a text before it is cut into words.

use std::borrow::Cow;

use unicode_normalization_alignments::UnicodeNormalization;
use unicode_normalization_alignments::char::is_combining_mark;

use super::bert_normalizer::BertNormalizer;
use super::json::Field;
use super::precompiled::Precompiled;
use crate::error::Result;

const KINDS: &str = "BertNormalizer, Lowercase, NFC, NFD, NFKC, NFKD, Nmt, Precompiled, Prepend, Replace, Sequence, \
                     Strip, StripAccents";

enum Step {
    Bert(BertNormalizer),
    Lowercase,
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Nmt,
    Precompiled(Precompiled),
    Prepend(String),
    Replace { pattern: String, content: String },
    ReplaceSpaces { content: String },
    Strip { left: bool, right: bool },
    StripAccents,
}

/// Steps in order.
#[derive(Default)]
pub(crate) struct Normalizer {
    steps: Vec<Step>,
}

impl Normalizer {
    pub fn read(field: Option<&Field<'_>>) -> Result<Self> {
        let mut steps = Vec::new();
        if let Some(field) = field {
            read_steps(field, &mut steps)?;
        }
        Ok(Self { steps })
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// BERT's own, alone.
    pub fn as_bert(&self) -> Option<&BertNormalizer> {
        match self.steps.as_slice() {
            [Step::Bert(bert)] => Some(bert),
            _ => None,
        }
    }

    /// The pairs of bytes that some step may change, if all steps leave all other printable ASCII as it is and change
    /// nothing across a border between two printable ASCII characters, one of them a space.
    pub fn ascii_pairs(&self) -> Option<Vec<[u8; 2]>> {
        let mut pairs = Vec::new();
        for step in &self.steps {
            match step {
                Step::Nfc | Step::Nfd | Step::Nfkc | Step::Nfkd | Step::StripAccents => {}
                Step::Precompiled(charsmap) if charsmap.keeps_printable() => {}
                Step::Replace { pattern, .. } => match *pattern.as_bytes() {
                    [first, second, ..] if pattern.bytes().all(|byte| byte.is_ascii_graphic()) => {
                        pairs.push([first, second]);
                    }
                    _ => return None,
                },
                _ => return None,
            }
        }
        Some(pairs)
    }

    pub fn normalize<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for step in &self.steps {
            let keeps = if text.is_ascii() { step.keeps_ascii(&text) } else { step.keeps(&text) };
            if !keeps {
                text = Cow::Owned(step.apply(&text));
            }
        }
        text
    }
}

impl Step {
    /// Whether the step leaves this ASCII text as it is.
    fn keeps_ascii(&self, text: &str) -> bool {
        match self {
            Self::Nfc | Self::Nfd | Self::Nfkc | Self::Nfkd | Self::StripAccents => true,
            Self::Lowercase => !text.bytes().any(|byte| byte.is_ascii_uppercase()),
            Self::Replace { pattern, .. } => !text.contains(pattern),
            Self::Precompiled(charsmap) => charsmap.keeps_ascii(text),
            _ => false,
        }
    }

    /// Whether the step surely leaves this text as it is.
    fn keeps(&self, text: &str) -> bool {
        matches!(self, Self::Nfc) && text.chars().all(is_surely_composed)
    }

    fn apply(&self, text: &str) -> String {
        match self {
            Self::Bert(bert) => bert.normalize(text),
            Self::Lowercase => text.chars().flat_map(char::to_lowercase).collect(),
            Self::Nfc => text.nfc().map(|(c, _)| c).collect(),
            Self::Nfd => text.nfd().map(|(c, _)| c).collect(),
            Self::Nfkc => text.nfkc().map(|(c, _)| c).collect(),
            Self::Nfkd => text.nfkd().map(|(c, _)| c).collect(),
            Self::Nmt => text.chars().filter_map(nmt).collect(),
            Self::Precompiled(charsmap) => charsmap.normalize(text),
            Self::Prepend(_) if text.is_empty() => String::new(),
            Self::Prepend(start) => format!("{start}{text}"),
            Self::Replace { pattern, content } => text.replace(pattern, content),
            Self::ReplaceSpaces { content } => replace_spaces(text, content),
            Self::Strip { left, right } => strip(text, *left, *right).to_owned(),
            Self::StripAccents => text.chars().filter(|&c| !is_combining_mark(c)).collect(),
        }
    }
}

/// Characters that NFC never changes, whatever stands beside them: Latin, most punctuation, kana, ideographs, emoji.
fn is_surely_composed(c: char) -> bool {
    matches!(u32::from(c), 0..0x300 | 0x2010..0x2060 | 0x3041..0x3097 | 0x30A1..0x30FB | 0x4E00..0xA000 | 0x1F300..0x1FA00)
}

fn strip(text: &str, left: bool, right: bool) -> &str {
    let text = if left { text.trim_start() } else { text };
    if right { text.trim_end() } else { text }
}

/// The pattern ` {2,}`.
fn replace_spaces(text: &str, content: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("  ") {
        out.push_str(&rest[..at]);
        out.push_str(content);
        rest = rest[at..].trim_start_matches(' ');
    }
    out.push_str(rest);
    out
}

/// The code points that SentencePiece's NMT rule drops or turns into a space.
fn nmt(c: char) -> Option<char> {
    match u32::from(c) {
        0x01..=0x08 | 0x0B | 0x0E..=0x1F | 0x7F | 0x8F | 0x9F => None,
        0x09 | 0x0A | 0x0C | 0x0D | 0x1680 | 0x200B..=0x200F | 0x2028 | 0x2029 | 0x2581 | 0xFEFF | 0xFFFD => {
            Some(' ')
        }
        _ => Some(c),
    }
}

fn read_steps(field: &Field<'_>, steps: &mut Vec<Step>) -> Result<()> {
    let step = match field.kind()? {
        "Sequence" => {
            return field
                .required("normalizers")?
                .items()?
                .iter()
                .try_for_each(|item| read_steps(item, steps));
        }
        "BertNormalizer" | "Bert" => Step::Bert(BertNormalizer::read(field)?),
        "Lowercase" => Step::Lowercase,
        "NFC" => Step::Nfc,
        "NFD" => Step::Nfd,
        "NFKC" => Step::Nfkc,
        "NFKD" => Step::Nfkd,
        "Nmt" => Step::Nmt,
        "Precompiled" => Step::Precompiled(Precompiled::read(&field.required("precompiled_charsmap")?)?),
        "Prepend" => Step::Prepend(field.required("prepend")?.string()?.to_owned()),
        "Replace" => read_replace(field)?,
        "Strip" => Step::Strip {
            left: field.required("strip_left")?.boolean()?,
            right: field.required("strip_right")?.boolean()?,
        },
        "StripAccents" => Step::StripAccents,
        _ => return Err(field.required("type")?.unsupported(KINDS)),
    };
    steps.push(step);
    Ok(())
}

fn read_replace(field: &Field<'_>) -> Result<Step> {
    let pattern = field.required("pattern")?;
    let content = field.required("content")?.string()?.to_owned();
    if let Some(text) = pattern.optional("String") {
        let text = text.string()?;
        if !text.is_empty() {
            return Ok(Step::Replace { pattern: text.to_owned(), content });
        }
    }
    match pattern.optional("Regex").map(|regex| regex.string()).transpose()? {
        Some(" {2,}") => Ok(Step::ReplaceSpaces { content }),
        _ => Err(pattern.unsupported("a String that is not empty, or the Regex \" {2,}\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_and_more_spaces_become_one_replacement() {
        assert_eq!(replace_spaces("a  b c     ", "_"), "a_b c_");
    }

    #[test]
    fn the_steps_run_in_order() {
        let steps = vec![
            Step::Replace { pattern: "``".into(), content: "\"".into() },
            Step::Nfkd,
            Step::StripAccents,
            Step::Lowercase,
            Step::Strip { left: true, right: false },
        ];
        assert_eq!(Normalizer { steps }.normalize("  É``ﬁ "), "e\"fi ");
    }
}
