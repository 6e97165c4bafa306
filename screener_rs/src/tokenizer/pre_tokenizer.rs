//! Cutting a normalised text into the words that the model sees.

use super::json::Field;
use super::scan::Pattern;
use crate::error::Result;
use crate::unicode::bert;

const KINDS: &str = "BertPreTokenizer, ByteLevel, Digits, Metaspace, Punctuation, Sequence, Split, Whitespace, \
                     WhitespaceSplit";

/// Takes a word; false stops the cutting.
pub(crate) type Emit<'a> = dyn FnMut(&str) -> bool + 'a;

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Bert,
    /// Maps bytes to characters as well, which the model does by itself.
    ByteLevel {
        add_prefix_space: bool,
        use_regex: bool,
    },
    Digits {
        individual: bool,
    },
    Metaspace {
        mark: char,
        prepend: Prepend,
        split: bool,
    },
    Punctuation,
    Regex(Pattern),
    Split {
        pattern: String,
        behavior: Behavior,
        invert: bool,
    },
    Whitespace,
    WhitespaceSplit,
}

/// What becomes of the places that a `Split` finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behavior {
    Isolated,
    Removed,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prepend {
    Always,
    First,
    Never,
}

/// Steps in order, each applied to every piece that the one before it made.
#[derive(Debug, Default)]
pub(crate) struct PreTokenizer {
    steps: Vec<Step>,
}

impl PreTokenizer {
    pub fn read(field: Option<&Field<'_>>) -> Result<Self> {
        let mut steps = Vec::new();
        if let Some(field) = field {
            read_steps(field, &mut steps)?;
            refuse_byte_level_before_the_end(field, &steps)?;
        }
        Ok(Self { steps })
    }

    pub fn is_byte_level(&self) -> bool {
        matches!(self.steps.last(), Some(Step::ByteLevel { .. }))
    }

    /// The pattern that cuts bytes into words, where nothing else does, and whether a space comes before each piece.
    pub fn byte_pattern(&self) -> Option<(Pattern, bool)> {
        match *self.steps.as_slice() {
            [Step::ByteLevel { add_prefix_space, use_regex: true }] => {
                Some((Pattern::Gpt2, add_prefix_space))
            }
            [
                Step::Digits { individual: true },
                Step::ByteLevel { add_prefix_space: false, use_regex: true },
            ] => Some((Pattern::Gpt2Digits, false)),
            [Step::Regex(pattern), Step::ByteLevel { add_prefix_space: false, use_regex: false }] => {
                Some((pattern, false))
            }
            _ => None,
        }
    }

    /// Whether words are what stands between spaces, each with a `▁` before it.
    pub fn marks_words(&self) -> bool {
        let metaspace = Step::Metaspace { mark: '▁', prepend: Prepend::Always, split: true };
        self.steps == [Step::WhitespaceSplit, metaspace]
    }

    /// BERT's own, alone.
    pub fn is_bert(&self) -> bool {
        self.steps == [Step::Bert]
    }

    /// Whether a word depends on where its piece stands in the text, which only an unchanged text shows.
    pub fn needs_offsets(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Metaspace { prepend: Prepend::First, .. }))
    }

    /// Calls `emit` with each word of a piece; `at_start`: the piece stands at the start of the text.
    pub fn each_word(&self, piece: &str, at_start: bool, emit: &mut Emit<'_>) -> bool {
        run(&self.steps, piece, at_start, emit)
    }
}

fn run(steps: &[Step], piece: &str, at_start: bool, emit: &mut Emit<'_>) -> bool {
    let Some((step, rest)) = steps.split_first() else { return emit(piece) };
    let mut at_start = at_start;
    step.each_piece(piece, at_start, &mut |part| {
        let starts = at_start && part.as_ptr() == piece.as_ptr();
        at_start = false;
        run(rest, part, starts, emit)
    })
}

impl Step {
    fn each_piece(&self, piece: &str, at_start: bool, emit: &mut Emit<'_>) -> bool {
        match self {
            Self::Bert => {
                removed(piece, char::is_whitespace, &mut |word| isolated(word, bert::is_punctuation, emit))
            }
            Self::ByteLevel { add_prefix_space, use_regex } => {
                byte_level(piece, *add_prefix_space, *use_regex, emit)
            }
            Self::Digits { individual: true } => isolated(piece, char::is_numeric, emit),
            Self::Digits { individual: false } => runs(piece, |c| u8::from(c.is_numeric()), emit),
            Self::Metaspace { mark, prepend, split } => {
                let prepend = *prepend == Prepend::Always || (*prepend == Prepend::First && at_start);
                metaspace(piece, *mark, prepend, *split, emit)
            }
            Self::Punctuation => isolated(piece, bert::is_punctuation, emit),
            Self::Regex(pattern) => pattern.each_word(piece, emit),
            Self::Split { pattern, behavior, invert } => split(piece, pattern, *behavior, *invert, emit),
            Self::Whitespace => {
                runs(piece, whitespace_class, &mut |run| run.starts_with(char::is_whitespace) || emit(run))
            }
            Self::WhitespaceSplit => removed(piece, char::is_whitespace, emit),
        }
    }
}

/// `\w`, `\s` or neither, as the regex crate of the reference sees them.
fn whitespace_class(c: char) -> u8 {
    if c.is_whitespace() { 0 } else { 1 + u8::from(is_regex_word(c)) }
}

/// `\w` of the regex crate.
pub(super) fn is_regex_word(c: char) -> bool {
    regex_syntax::try_is_word_character(c).unwrap_or(false)
}

fn removed(piece: &str, is_delimiter: impl Fn(char) -> bool, emit: &mut Emit<'_>) -> bool {
    piece.split(is_delimiter).filter(|part| !part.is_empty()).all(emit)
}

fn isolated(piece: &str, is_delimiter: impl Fn(char) -> bool, emit: &mut Emit<'_>) -> bool {
    let mut start = 0;
    for (at, c) in piece.char_indices().filter(|&(_, c)| is_delimiter(c)) {
        let end = at + c.len_utf8();
        if (at > start && !emit(&piece[start..at])) || !emit(&piece[at..end]) {
            return false;
        }
        start = end;
    }
    start == piece.len() || emit(&piece[start..])
}

/// Runs of characters of one class.
fn runs(piece: &str, class: impl Fn(char) -> u8, emit: &mut Emit<'_>) -> bool {
    let mut rest = piece;
    while let Some(first) = rest.chars().next() {
        let len =
            rest.char_indices().find(|&(_, c)| class(c) != class(first)).map_or(rest.len(), |(at, _)| at);
        if !emit(&rest[..len]) {
            return false;
        }
        rest = &rest[len..];
    }
    true
}

fn byte_level(piece: &str, add_prefix_space: bool, use_regex: bool, emit: &mut Emit<'_>) -> bool {
    if add_prefix_space && !piece.starts_with(' ') {
        return byte_level(&format!(" {piece}"), false, use_regex, emit);
    }
    if use_regex { Pattern::Gpt2.each_word(piece, emit) } else { emit(piece) }
}

fn metaspace(piece: &str, mark: char, prepend: bool, split: bool, emit: &mut Emit<'_>) -> bool {
    let mut marked = String::with_capacity(piece.len() + 3);
    if prepend && !piece.starts_with([' ', mark]) {
        marked.push(mark);
    }
    marked.extend(piece.chars().map(|c| if c == ' ' { mark } else { c }));
    if !split {
        return emit(&marked);
    }
    let mut start = 0;
    for (at, _) in marked.match_indices(mark).filter(|&(at, _)| at > 0) {
        if !emit(&marked[start..at]) {
            return false;
        }
        start = at;
    }
    emit(&marked[start..])
}

/// Cuts at a text. As in the reference a place found right after another one is not merged with it.
fn split(piece: &str, pattern: &str, behavior: Behavior, invert: bool, emit: &mut Emit<'_>) -> bool {
    let parts = found_and_between(piece, pattern, invert);
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (at, &(start, end, is_match)) in parts.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| parts[before].2);
        let joins = match behavior {
            Behavior::Isolated => false,
            Behavior::Removed if is_match => continue,
            Behavior::Removed => false,
            Behavior::MergedWithPrevious => is_match && before == Some(false),
            // Of several places in a row the last one joins what follows.
            Behavior::MergedWithNext => !is_match && before == Some(true),
            Behavior::Contiguous => before == Some(is_match),
        };
        match joined.last_mut().filter(|_| joins) {
            Some(last) => last.1 = end,
            None => joined.push((start, end)),
        }
    }
    joined.into_iter().all(|(start, end)| emit(&piece[start..end]))
}

/// Where the pattern is found and what lies between, in order: start, end, and whether it counts as found.
fn found_and_between(piece: &str, pattern: &str, invert: bool) -> Vec<(usize, usize, bool)> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, found) in piece.match_indices(pattern) {
        parts.push((start, at, invert));
        start = at + found.len();
        parts.push((at, start, !invert));
    }
    parts.push((start, piece.len(), invert));
    parts.retain(|&(start, end, _)| start < end);
    parts
}

fn read_steps(field: &Field<'_>, steps: &mut Vec<Step>) -> Result<()> {
    let step = match field.kind()? {
        "Sequence" => {
            return field
                .required("pretokenizers")?
                .items()?
                .iter()
                .try_for_each(|item| read_steps(item, steps));
        }
        "BertPreTokenizer" => Step::Bert,
        "ByteLevel" => Step::ByteLevel {
            add_prefix_space: field.required("add_prefix_space")?.boolean()?,
            use_regex: field.flag("use_regex", true)?,
        },
        "Digits" => Step::Digits { individual: field.required("individual_digits")?.boolean()? },
        "Metaspace" => read_metaspace(field)?,
        "Punctuation" => read_punctuation(field)?,
        "Split" => read_split(field)?,
        "Whitespace" => Step::Whitespace,
        "WhitespaceSplit" => Step::WhitespaceSplit,
        _ => return Err(field.required("type")?.unsupported(KINDS)),
    };
    steps.push(step);
    Ok(())
}

fn read_metaspace(field: &Field<'_>) -> Result<Step> {
    let replacement = field.required("replacement")?;
    let mut chars = replacement.string()?.chars();
    let mark =
        chars.next().filter(|_| chars.next().is_none()).ok_or_else(|| replacement.wrong("one character"))?;
    let scheme = field.optional("prepend_scheme").map(|scheme| scheme.string()).transpose()?;
    let prepend = match scheme {
        None | Some("always") => Prepend::Always,
        Some("first") => Prepend::First,
        Some("never") => Prepend::Never,
        Some(_) => return Err(field.required("prepend_scheme")?.unsupported("always, first, never")),
    };
    // Files from before `prepend_scheme` say add_prefix_space; the reference refuses a contradiction as well.
    if let Some(legacy) = field.optional("add_prefix_space")
        && !legacy.boolean()?
        && prepend != Prepend::Never
    {
        return Err(legacy.unsupported("true, or false beside prepend_scheme \"never\""));
    }
    Ok(Step::Metaspace { mark, prepend, split: field.flag("split", true)? })
}

fn read_punctuation(field: &Field<'_>) -> Result<Step> {
    match field.optional("behavior") {
        Some(behavior) if behavior.string()? != "Isolated" => Err(behavior.unsupported("Isolated")),
        _ => Ok(Step::Punctuation),
    }
}

/// A pattern that covers every text gives the same words whether matches are isolated or what lies between is removed.
fn read_split(field: &Field<'_>) -> Result<Step> {
    let pattern = field.required("pattern")?;
    if let Some(text) = pattern.optional("String") {
        return read_split_on(field, &text);
    }
    let regex = pattern.optional("Regex").map(|regex| regex.string()).transpose()?;
    let known = regex.and_then(Pattern::of_regex);
    let known = known.ok_or_else(|| pattern.unsupported("the patterns of GPT-2, Llama 3 and Qwen 2"))?;
    let behavior = field.required("behavior")?;
    match (behavior.string()?, field.required("invert")?.boolean()?) {
        ("Isolated", _) | ("Removed", true) => Ok(Step::Regex(known)),
        _ => Err(behavior.unsupported("Isolated, or Removed with invert")),
    }
}

fn read_split_on(field: &Field<'_>, text: &Field<'_>) -> Result<Step> {
    let pattern = text.string()?.to_owned();
    if pattern.is_empty() {
        return Err(text.unsupported("a text that is not empty"));
    }
    let behavior = field.required("behavior")?;
    let known = match behavior.string()? {
        "Isolated" => Behavior::Isolated,
        "Removed" => Behavior::Removed,
        "MergedWithPrevious" => Behavior::MergedWithPrevious,
        "MergedWithNext" => Behavior::MergedWithNext,
        "Contiguous" => Behavior::Contiguous,
        _ => {
            return Err(
                behavior.unsupported("Isolated, Removed, MergedWithPrevious, MergedWithNext, Contiguous")
            );
        }
    };
    Ok(Step::Split { pattern, behavior: known, invert: field.required("invert")?.boolean()? })
}

/// Later steps would see the mapped characters, which are never made here.
fn refuse_byte_level_before_the_end(field: &Field<'_>, steps: &[Step]) -> Result<()> {
    let last = steps.len().saturating_sub(1);
    match steps.iter().position(|step| matches!(step, Step::ByteLevel { .. })) {
        Some(at) if at < last => Err(field.unsupported("ByteLevel as the last pre-tokenizer")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(steps: Vec<Step>, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        PreTokenizer { steps }.each_word(text, true, &mut |word| {
            found.push(word.to_owned());
            true
        });
        found
    }

    #[test]
    fn bert_isolates_punctuation_and_drops_spaces() {
        assert_eq!(words(vec![Step::Bert], " it's\u{a0}(so)…x "), ["it", "'", "s", "(", "so", ")", "…", "x"]);
    }

    #[test]
    fn metaspace_marks_every_word_and_splits_before_the_mark() {
        let step = |prepend| vec![Step::Metaspace { mark: '▁', prepend, split: true }];
        assert_eq!(words(step(Prepend::Always), "a  b"), ["▁a", "▁", "▁b"]);
        assert_eq!(words(step(Prepend::Never), "a b"), ["a", "▁b"]);
        assert_eq!(words(step(Prepend::Always), "▁a"), ["▁a"]);
    }

    #[test]
    fn only_the_first_word_of_the_text_gets_the_mark_of_first() {
        let steps =
            vec![Step::WhitespaceSplit, Step::Metaspace { mark: '▁', prepend: Prepend::First, split: true }];
        assert_eq!(words(steps.clone(), "a b"), ["▁a", "b"]);
        assert_eq!(words(steps, " a b"), ["a", "b"]);
    }

    #[test]
    fn words_and_symbols_are_runs_between_spaces() {
        assert_eq!(words(vec![Step::Whitespace], "ab_1 ++x\u{301}."), ["ab_1", "++", "x\u{301}", "."]);
        assert_eq!(words(vec![Step::Digits { individual: false }], "a12b"), ["a", "12", "b"]);
        assert_eq!(words(vec![Step::Digits { individual: true }], "a12b"), ["a", "1", "2", "b"]);
    }
}
