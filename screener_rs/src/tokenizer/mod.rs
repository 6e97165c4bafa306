//! Tokenizers read from `tokenizer.json`, with the ids of Hugging Face `tokenizers`.

mod added;
mod base64;
mod bert_normalizer;
mod block;
mod bpe;
mod bytes;
mod fast_bert;
mod fast_spaces;
mod fast_words;
mod json;
mod key;
mod merge;
mod model;
mod normalizer;
mod post_processor;
mod pre_tokenizer;
mod precompiled;
mod scan;
mod trie;
mod unigram;
mod vocabulary;
mod wordpiece;

use std::borrow::Cow;
use std::collections::BTreeSet;

use added::{AddedTokens, Segment};
use bert_normalizer::BertNormalizer;
use block::dispatch;
use fast_bert::EncodeBert;
use fast_spaces::EncodeSpaces;
use fast_words::EncodeWords;
use json::Field;
use model::{Model, ModelScratch};
use normalizer::Normalizer;
use pre_tokenizer::PreTokenizer;
use scan::Pattern;
use serde_json::Value;
use vocabulary::Vocabulary;

use crate::error::{Error, Result};
pub(crate) use post_processor::{Piece, PostProcessor};

/// Tokens that mean padding, in the order in which they are looked for where the file has no `padding`.
const PADDING_TOKENS: [&str; 4] = ["[PAD]", "<pad>", "<|padding|>", "<|pad|>"];

/// Which end of a text is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first tokens are cut off.
    Left,
    /// The last tokens are cut off.
    Right,
}

/// A tokenizer; it never changes after loading.
pub struct Tokenizer {
    added: AddedTokens,
    normalizer: Normalizer,
    pre_tokenizer: PreTokenizer,
    model: Model,
    path: Path,
    pub(crate) post_processor: PostProcessor,
    vocabulary_size: usize,
    padding_id: Option<u32>,
    truncation_side: Side,
    /// How the file cuts pairs, where it says so.
    strategy: Option<String>,
}

/// What a thread keeps from text to text: buffers and the cache of words. Of use to one tokenizer only.
pub struct Scratch(ModelScratch);

impl Default for Scratch {
    fn default() -> Self {
        Self(ModelScratch::new())
    }
}

impl Tokenizer {
    /// Reads the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::Invalid`] and [`Error::Unsupported`], which name the field.
    pub fn from_json(text: &str) -> Result<Self> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| Error::Json { reason: error.to_string() })?;
        let root = Field::root(&value);
        if let Some(version) = root.optional("version").filter(|version| version.value != "1.0") {
            return Err(version.unsupported("\"1.0\""));
        }
        let pre_tokenizer = PreTokenizer::read(root.optional("pre_tokenizer").as_ref())?;
        let normalizer = Normalizer::read(root.optional("normalizer").as_ref())?;
        if pre_tokenizer.needs_offsets() && !normalizer.is_empty() {
            let field = root.required("pre_tokenizer")?;
            return Err(field.unsupported("prepend_scheme \"first\" without a normalizer"));
        }
        let (model, vocabulary) = Model::read(&root.required("model")?, pre_tokenizer.is_byte_level())?;
        let added = AddedTokens::read(root.optional("added_tokens").as_ref(), &vocabulary, &normalizer)?;
        Ok(Self {
            post_processor: PostProcessor::read(root.optional("post_processor").as_ref())?,
            vocabulary_size: vocabulary.values().copied().chain(added.ids()).collect::<BTreeSet<_>>().len(),
            padding_id: padding_id(&root, &added, &vocabulary)?,
            truncation_side: truncation_side(&root)?,
            strategy: strategy(&root)?,
            path: Path::of(&normalizer, &pre_tokenizer, &added),
            added,
            normalizer,
            pre_tokenizer,
            model,
        })
    }

    /// `WordPiece`, `BPE` or `Unigram`.
    pub fn kind(&self) -> &'static str {
        self.model.kind()
    }

    /// Number of different ids, added tokens included.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary_size
    }

    /// The id that fills up short rows: from `padding` in the file, or else of a token with a usual name.
    pub fn padding_id(&self) -> Option<u32> {
        self.padding_id
    }

    /// The side that the file's `truncation` cuts; right where it has none.
    pub fn truncation_side(&self) -> Side {
        self.truncation_side
    }

    /// # Errors
    /// [`Error::Unsupported`] where the file cuts pairs in another way than the longer text first.
    pub(crate) fn refuse_other_strategies(&self) -> Result<()> {
        match self.strategy.as_deref() {
            None | Some("LongestFirst") => Ok(()),
            Some(other) => Err(Error::unsupported("truncation.strategy", other, "LongestFirst, for pairs")),
        }
    }

    /// Appends the ids of a text without special tokens; stops some time after `most` of them.
    pub(crate) fn append_ids(&self, text: &str, most: usize, scratch: &mut Scratch, out: &mut Vec<u32>) {
        let enough = out.len().saturating_add(most);
        self.added.raw.each_segment(text, &mut |segment| {
            match segment {
                Segment::Token(id) => out.push(id),
                Segment::Text(part, at_start) => {
                    self.append_part(part, at_start, enough, &mut scratch.0, out)
                }
            }
            out.len() < enough
        });
    }

    fn append_part(
        &self,
        text: &str,
        at_start: bool,
        enough: usize,
        scratch: &mut ModelScratch,
        out: &mut Vec<u32>,
    ) {
        match &self.path {
            Path::Bert(bert) => {
                dispatch(EncodeBert { text, normalizer: bert, model: &self.model, enough, scratch, out })
            }
            Path::Marked(pairs) => dispatch(EncodeSpaces {
                text,
                pairs,
                normalizer: &self.normalizer,
                pre_tokenizer: &self.pre_tokenizer,
                model: &self.model,
                enough,
                scratch,
                out,
            }),
            Path::Bytes { .. } | Path::General => {
                self.append_normalized(text, at_start, enough, scratch, out)
            }
        }
    }

    fn append_normalized(
        &self,
        text: &str,
        at_start: bool,
        enough: usize,
        scratch: &mut ModelScratch,
        out: &mut Vec<u32>,
    ) {
        let normal = self.normalizer.normalize(text);
        self.added.normalized.each_segment(&normal, &mut |segment| {
            match segment {
                Segment::Token(id) => out.push(id),
                Segment::Text(part, starts) => {
                    self.append_words(part, at_start && starts, enough, scratch, out)
                }
            }
            out.len() < enough
        });
    }

    fn append_words(
        &self,
        text: &str,
        at_start: bool,
        enough: usize,
        scratch: &mut ModelScratch,
        out: &mut Vec<u32>,
    ) {
        if let Path::Bytes { pattern, add_prefix_space } = self.path {
            let prefixed = if add_prefix_space && !text.starts_with(' ') {
                Cow::Owned(format!(" {text}"))
            } else {
                Cow::Borrowed(text)
            };
            return dispatch(EncodeWords {
                text: &prefixed,
                pattern,
                model: &self.model,
                enough,
                scratch,
                out,
            });
        }
        self.pre_tokenizer.each_word(text, at_start, &mut |word| {
            self.model.tokenize(word, scratch, out);
            out.len() < enough
        });
    }
}

/// How words are found: one of the fast ways where the parts of the tokenizer allow it.
enum Path {
    Bert(BertNormalizer),
    Bytes {
        pattern: Pattern,
        add_prefix_space: bool,
    },
    /// Pairs of bytes that the normaliser may change.
    Marked(Vec<[u8; 2]>),
    General,
}

impl Path {
    fn of(normalizer: &Normalizer, pre_tokenizer: &PreTokenizer, added: &AddedTokens) -> Self {
        if let Some((pattern, add_prefix_space)) = pre_tokenizer.byte_pattern() {
            return Self::Bytes { pattern, add_prefix_space };
        }
        if !added.normalized.is_empty() {
            return Self::General;
        }
        if let Some(bert) = normalizer.as_bert().filter(|bert| bert.clean_text && pre_tokenizer.is_bert()) {
            return Self::Bert(*bert);
        }
        match normalizer.ascii_pairs().filter(|_| pre_tokenizer.marks_words()) {
            Some(pairs) => Self::Marked(pairs),
            None => Self::General,
        }
    }
}

fn padding_id(root: &Field<'_>, added: &AddedTokens, vocabulary: &Vocabulary) -> Result<Option<u32>> {
    if let Some(padding) = root.optional("padding") {
        return Ok(Some(padding.required("pad_id")?.id()?));
    }
    let id = |token: &&str| added.id(token).or_else(|| vocabulary.get(*token).copied());
    Ok(PADDING_TOKENS.iter().find_map(id))
}

fn strategy(root: &Field<'_>) -> Result<Option<String>> {
    let field = root.optional("truncation").and_then(|truncation| truncation.optional("strategy"));
    field.map(|field| field.string().map(str::to_owned)).transpose()
}

fn truncation_side(root: &Field<'_>) -> Result<Side> {
    let direction = root.optional("truncation").and_then(|truncation| truncation.optional("direction"));
    match direction.as_ref().map(Field::string).transpose()? {
        None | Some("Right") => Ok(Side::Right),
        Some("Left") => Ok(Side::Left),
        Some(_) => {
            Err(direction.map_or_else(|| root.wrong("Left or Right"), |field| field.wrong("Left or Right")))
        }
    }
}
