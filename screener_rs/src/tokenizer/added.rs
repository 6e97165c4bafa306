//! Added tokens: found inside the caller's text before the model sees it.

use daachorse::{DoubleArrayAhoCorasick, DoubleArrayAhoCorasickBuilder, MatchKind};

use super::block::{BLOCK, Scan, Window, Work, dispatch, lowest};
use super::json::Field;
use super::normalizer::Normalizer;
use super::pre_tokenizer::is_regex_word;
use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};
use crate::hash::FastMap;

/// An entry of `added_tokens`; the id is the one that the reference gives it, not the one in the file.
#[derive(Debug, Clone)]
struct AddedToken {
    content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Segment<'a> {
    Token(u32),
    /// Text between added tokens, and whether it stands at the start.
    Text(&'a str, bool),
}

/// Tokens that are looked for together.
#[derive(Default)]
pub(crate) struct TokenSet {
    automaton: Option<DoubleArrayAhoCorasick<u32>>,
    tokens: FastMap<u32, AddedToken>,
    heads: Heads,
}

/// How tokens begin; texts in which none does are the most common ones.
#[derive(Default)]
struct Heads {
    /// First bytes, each with the second one where all tokens that begin so have the same.
    pairs: Vec<(u8, Option<u8>)>,
}

/// All of them: those that are matched in the text as it is, and those matched after normalising.
#[derive(Default)]
pub(crate) struct AddedTokens {
    pub raw: TokenSet,
    pub normalized: TokenSet,
    ids: FastMap<String, u32>,
}

impl AddedTokens {
    pub fn read(field: Option<&Field<'_>>, vocabulary: &Vocabulary, normalizer: &Normalizer) -> Result<Self> {
        let mut ids = FastMap::default();
        let mut by_id: FastMap<u32, AddedToken> = FastMap::default();
        let mut next_id = vocabulary.len() as u32;
        for item in field.map_or_else(|| Ok(Vec::new()), Field::items)? {
            let token = read_token(&item)?;
            if token.content.is_empty() {
                continue;
            }
            let known = ids.get(&token.content).or_else(|| vocabulary.get(&token.content)).copied();
            let id = known.unwrap_or_else(|| {
                next_id += 1;
                next_id - 1
            });
            ids.insert(token.content.clone(), id);
            by_id.insert(id, token);
        }
        let (normalized, raw): (Vec<_>, Vec<_>) = by_id.into_iter().partition(|(_, token)| token.normalized);
        let pattern = |token: &AddedToken| normalizer.normalize(&token.content).into_owned();
        Ok(Self {
            raw: TokenSet::build(raw, |token| token.content.clone())?,
            normalized: TokenSet::build(normalized, pattern)?,
            ids,
        })
    }

    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.ids.values().copied()
    }

    pub fn id(&self, content: &str) -> Option<u32> {
        self.ids.get(content).copied()
    }
}

fn read_token(item: &Field<'_>) -> Result<AddedToken> {
    Ok(AddedToken {
        content: item.required("content")?.string()?.to_owned(),
        single_word: item.required("single_word")?.boolean()?,
        lstrip: item.required("lstrip")?.boolean()?,
        rstrip: item.required("rstrip")?.boolean()?,
        normalized: item.required("normalized")?.boolean()?,
    })
}

impl Heads {
    fn of<'a>(patterns: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut pairs: Vec<(u8, Option<u8>)> = Vec::new();
        for pattern in patterns {
            let (Some(&first), second) = (pattern.first(), pattern.get(1).copied()) else { continue };
            match pairs.iter_mut().find(|(known, _)| *known == first) {
                None => pairs.push((first, second)),
                Some((_, known)) if *known != second => *known = None,
                Some(_) => {}
            }
        }
        Self { pairs }
    }

    /// Whether a token may occur; cheap, and false for most texts.
    fn may_occur(&self, text: &str) -> bool {
        let mut found = false;
        if !self.pairs.is_empty() {
            dispatch(FindHead { text: text.as_bytes(), pairs: &self.pairs, found: &mut found });
        }
        found
    }
}

/// Looks for the first bytes of a token, 64 places at a time.
struct FindHead<'a> {
    text: &'a [u8],
    pairs: &'a [(u8, Option<u8>)],
    found: &'a mut bool,
}

impl Work for FindHead<'_> {
    #[inline(always)]
    fn run(self, scan: impl Scan) {
        let mut window = Window::new(self.text);
        for start in (0..self.text.len()).step_by(BLOCK) {
            let block = window.at(start);
            let mut places = 0;
            for &(first, second) in self.pairs {
                // What follows the last byte is not looked at.
                let follows = second.map_or(u64::MAX, |byte| scan.equal(block, byte) >> 1 | 1 << (BLOCK - 1));
                places |= scan.equal(block, first) & follows;
            }
            if places & lowest(self.text.len() - start) != 0 {
                *self.found = true;
                return;
            }
        }
    }
}

impl TokenSet {
    fn build(tokens: Vec<(u32, AddedToken)>, pattern: impl Fn(&AddedToken) -> String) -> Result<Self> {
        if tokens.is_empty() {
            return Ok(Self::default());
        }
        let mut patterns: Vec<(String, u32)> =
            tokens.iter().map(|(id, token)| (pattern(token), *id)).collect();
        patterns.sort_unstable();
        if let Some(pair) = patterns.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let found = format!("two tokens that match {:?}", pair[0].0);
            return Err(Error::unsupported(
                "added_tokens",
                found,
                "one: between two the reference chooses at random",
            ));
        }
        let heads = Heads::of(patterns.iter().map(|(text, _)| text.as_bytes()));
        let automaton = DoubleArrayAhoCorasickBuilder::new()
            .match_kind(MatchKind::LeftmostLongest)
            .build_with_values(patterns.iter().map(|(text, id)| (text, *id)))
            .map_err(|error| Error::invalid("added_tokens", error, "(a token matches nothing)"))?;
        Ok(Self { automaton: Some(automaton), tokens: tokens.into_iter().collect(), heads })
    }

    pub fn is_empty(&self) -> bool {
        self.automaton.is_none()
    }

    /// Calls `emit` with the parts of a text in order, until it says false; empty parts are left out.
    pub fn each_segment<'a>(&self, text: &'a str, emit: &mut dyn FnMut(Segment<'a>) -> bool) -> bool {
        let mut start = 0;
        let text_part = |from: usize, to: usize, emit: &mut dyn FnMut(Segment<'a>) -> bool| {
            from >= to || emit(Segment::Text(&text[from..to], from == 0))
        };
        if let Some(automaton) = self.automaton.as_ref().filter(|_| self.heads.may_occur(text)) {
            for found in automaton.leftmost_find_iter(text) {
                let Some((from, to)) = self.extent(text, found.value(), start, (found.start(), found.end()))
                else {
                    continue;
                };
                if !text_part(start, from, emit) || !emit(Segment::Token(found.value())) {
                    return false;
                }
                start = to;
            }
        }
        text_part(start, text.len(), emit)
    }

    /// The match with the spaces that the token swallows, or none where it is part of a longer word.
    fn extent(&self, text: &str, id: u32, taken: usize, found: (usize, usize)) -> Option<(usize, usize)> {
        let token = self.tokens.get(&id)?;
        let (before, after) = (&text[..found.0], &text[found.1..]);
        let in_word = before.chars().next_back().is_some_and(is_regex_word)
            || after.chars().next().is_some_and(is_regex_word);
        if token.single_word && in_word {
            return None;
        }
        let from = if token.lstrip { before.trim_end().len().max(taken) } else { found.0 };
        let to = if token.rstrip { text.len() - after.trim_start().len() } else { found.1 };
        Some((from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments<'a>(set: &TokenSet, text: &'a str) -> Vec<Segment<'a>> {
        let mut found = Vec::new();
        set.each_segment(text, &mut |segment| {
            found.push(segment);
            true
        });
        found
    }

    fn set(content: &str, single_word: bool, strip: bool) -> TokenSet {
        let content = content.to_owned();
        let token = AddedToken { content, single_word, lstrip: strip, rstrip: strip, normalized: false };
        TokenSet::build(vec![(7, token)], |token| token.content.clone()).unwrap()
    }

    #[test]
    fn a_token_swallows_the_spaces_it_strips() {
        use Segment::{Text, Token};
        let set = set("<m>", false, true);
        assert_eq!(segments(&set, "a <m> <m>  b"), [Text("a", true), Token(7), Token(7), Text("b", false)]);
    }

    #[test]
    fn a_single_word_token_is_not_found_inside_a_word() {
        use Segment::{Text, Token};
        let set = set("ab", true, false);
        assert_eq!(segments(&set, "xab ab_ ab"), [Text("xab ab_ ", true), Token(7)]);
    }
}
