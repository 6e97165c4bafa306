//! A linear screener: TF-IDF over n-grams of words, weighted by naive Bayes log-ratios, logistic regression on top.
//!
//! With `t = 1 + ln(count)` (or the count itself) the logit is `b + sum(t c) / sqrt(sum(t^2 d))`, where
//! `c = coefficient * r * idf` and `d = idf^2` are folded at load.

mod bytes;
mod counts;
mod tables;
mod words;

use std::sync::{Mutex, TryLockError};

use crate::error::{Error, Result};
use crate::hash::FastMap;
use crate::parallel::{self, Workers};
use crate::unicode::text::{Characters, Preprocessing};
use crate::verdict::sigmoid;
use counts::Counts;
use tables::{Edge, Edges, NONE, Words};
use words::Prepared;

/// What scikit-learn fitted, one entry per n-gram.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a, S> {
    /// The n-grams, words joined by a space.
    pub vocabulary: &'a [S],
    /// Inverse document frequencies.
    pub idf: &'a [f64],
    /// Naive Bayes log-ratios.
    pub r: &'a [f64],
    /// Coefficients of the logistic regression.
    pub coef: &'a [f64],
    /// Its intercept.
    pub intercept: f64,
}

/// How texts become n-grams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Least words of an n-gram.
    pub least_words: usize,
    /// Most words of an n-gram.
    pub most_words: usize,
    /// Python's `str.lower` first.
    pub lowercase: bool,
    /// scikit-learn's `strip_accents="unicode"`.
    pub strip_accents: bool,
    /// `1 + ln(count)` instead of the count.
    pub sublinear_tf: bool,
}

/// Numerator and squared norm that an n-gram contributes.
#[derive(Debug, Clone, Copy)]
struct Feature {
    c: f64,
    d: f64,
}

/// The screener; it never changes after loading.
///
/// N-grams are paths in a tree. A word is found by its bytes and is a node; from a node, a word leads to a longer n-gram.
/// So no text is ever joined. Words and inner nodes are there even where only a longer n-gram was kept.
pub struct NbLogistic {
    words: Words,
    /// Of each word, the n-gram that it is alone.
    unigrams: Vec<u32>,
    edges: Edges,
    features: Vec<Feature>,
    weights: Vec<f64>,
    intercept: f64,
    settings: Settings,
    /// What small counts weigh.
    weight_of_count: Vec<f64>,
    characters: Characters,
    kept: Mutex<Vec<Scratch>>,
}

/// Buffers kept from text to text.
#[derive(Default)]
struct Scratch {
    text: Prepared,
    words: Vec<u32>,
    /// N-grams that are single words, and pairs of words that may be n-grams.
    singles: Vec<u32>,
    pairs: Vec<(u64, u32)>,
    /// Paths so far: node and number of the word that comes next.
    paths: Vec<(u32, u32)>,
    counts: Counts,
}

/// Counts whose weights are looked up; hardly any n-gram occurs more often in a text.
const TABLED_COUNTS: u32 = 64;

/// Scratch states kept for later calls.
const MOST_KEPT: usize = 64;

impl NbLogistic {
    /// Folds the parts.
    ///
    /// # Errors
    /// [`Error::Invalid`] for parts of unequal length, values that are not finite, and n-grams that are there twice
    /// or have a count of words outside the settings.
    pub fn new<S: AsRef<str>>(parts: Parts<'_, S>, settings: Settings) -> Result<Self> {
        check(&parts, settings)?;
        let count = parts.vocabulary.len();
        // Frequent n-grams first: what most texts need lies close together then.
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|&a, &b| parts.idf[a].total_cmp(&parts.idf[b]));
        let tree = Tree::of(parts.vocabulary, &order, settings)?;
        let weights: Vec<f64> = (0..count).map(|i| parts.coef[i] * parts.r[i]).collect();
        let feature = |&i: &usize| Feature { c: weights[i] * parts.idf[i], d: parts.idf[i] * parts.idf[i] };
        let Settings { lowercase, strip_accents, .. } = settings;
        Ok(Self {
            features: order.iter().map(feature).collect(),
            words: Words::of(&tree.words),
            unigrams: tree.unigrams,
            edges: Edges::new(tree.edges),
            weights,
            intercept: parts.intercept,
            settings,
            weight_of_count: (0..TABLED_COUNTS)
                .map(|count| weight_of(count, settings.sublinear_tf))
                .collect(),
            characters: Characters::new(Preprocessing { lowercase, strip_accents }),
            kept: Mutex::new(Vec::new()),
        })
    }

    /// How texts become n-grams.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Number of n-grams.
    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// Whether there are no n-grams, so that each score is that of the intercept.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// Of each n-gram, what a text that consists of it alone adds to the logit.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The score of each text, in [0, 1] and in the callers' order.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn score<S: AsRef<str> + Sync>(&self, texts: &[S], workers: Workers<'_>) -> Result<Vec<f64>> {
        let sizes = texts.iter().map(|text| text.as_ref().len());
        let parts = parallel::map_chunks(texts, sizes, workers, |chunk| {
            let mut scratch = self.take();
            let scores = chunk
                .iter()
                .map(|text| sigmoid(self.logit(text.as_ref(), &mut scratch)))
                .collect::<Vec<f64>>();
            self.put_back(scratch);
            scores
        })?;
        Ok(parts.concat())
    }

    /// Sums in the order in which the n-grams first occur, so that a score depends on nothing but the text.
    fn logit(&self, text: &str, scratch: &mut Scratch) -> f64 {
        self.count(text, scratch);
        let (mut numerator, mut squared_norm) = (0.0, 0.0);
        scratch.counts.drain(|feature, count| {
            let tabled = self.weight_of_count.get(count as usize).copied();
            let t = tabled.unwrap_or_else(|| weight_of(count, self.settings.sublinear_tf));
            let Feature { c, d } = self.features[feature as usize];
            numerator += t * c;
            squared_norm += t * t * d;
        });
        if squared_norm > 0.0 { self.intercept + numerator / squared_norm.sqrt() } else { self.intercept }
    }

    /// Counts the n-grams of a text that are in the vocabulary: one word, two words, and so on.
    fn count(&self, text: &str, scratch: &mut Scratch) {
        let Scratch { text: prepared, words, singles, pairs, paths, counts } = scratch;
        let Settings { least_words, most_words, .. } = self.settings;
        prepared.read(text, &self.characters);
        words.clear();
        prepared.each_word(|bytes, word| words.push(self.words.find(bytes, word)));
        if least_words == 1 {
            let unigrams =
                words.iter().map(|&word| self.unigrams.get(word as usize).copied().unwrap_or(NONE));
            kept(singles, unigrams.map(|feature| (feature, feature != NONE)))
                .iter()
                .for_each(|&feature| counts.add(feature));
        }
        if most_words > 1 {
            let likely = words.windows(2).enumerate().map(|(first, pair)| {
                let key = Edges::key(pair[0], pair[1]);
                ((key, first as u32 + 2), self.edges.may_have(key))
            });
            paths.clear();
            for &(key, next) in kept(pairs, likely) {
                paths.extend(self.step(key, counts).map(|node| (node, next)));
            }
            (3..=most_words).for_each(|_| self.extend_paths(words, paths, counts));
        }
    }

    /// Moves each path on by one word, and drops those that no n-gram follows.
    fn extend_paths(&self, words: &[u32], paths: &mut Vec<(u32, u32)>, counts: &mut Counts) {
        paths.retain_mut(|(node, next)| {
            let Some(&word) = words.get(*next as usize) else { return false };
            let key = Edges::key(*node, word);
            let Some(reached) = self.edges.may_have(key).then(|| self.step(key, counts)).flatten() else {
                return false;
            };
            (*node, *next) = (reached, *next + 1);
            true
        });
    }

    /// Counts the n-gram at the end of an edge; the node that longer ones go on from.
    fn step(&self, key: u64, counts: &mut Counts) -> Option<u32> {
        let edge = self.edges.find(key)?;
        if edge.feature != NONE {
            counts.add(edge.feature);
        }
        (edge.node != NONE).then_some(edge.node)
    }

    /// A scratch state of an earlier call, or a new one: a lock held while the process forked must not block the child.
    fn take(&self) -> Scratch {
        let kept = match self.kept.try_lock() {
            Ok(mut kept) => kept.pop(),
            Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => None,
        };
        kept.unwrap_or_else(|| Scratch { counts: Counts::of(self.features.len()), ..Scratch::default() })
    }

    fn put_back(&self, scratch: Scratch) {
        if let Ok(mut kept) = self.kept.try_lock()
            && kept.len() < MOST_KEPT
        {
            kept.push(scratch);
        }
    }
}

/// Those of the items that are marked, in order. Each is written and the next one over it unless it is marked: which are
/// cannot be foreseen, and a processor that guesses wrong loses more time than a write takes.
fn kept<T: Copy + Default>(buffer: &mut Vec<T>, items: impl ExactSizeIterator<Item = (T, bool)>) -> &[T] {
    if buffer.len() <= items.len() {
        buffer.resize(items.len() + 1, T::default());
    }
    let mut count = 0;
    for (item, is_kept) in items {
        buffer[count] = item;
        count += usize::from(is_kept);
    }
    &buffer[..count]
}

/// The term frequency of a count: `1 + ln(count)`, or the count itself.
fn weight_of(count: u32, sublinear: bool) -> f64 {
    if sublinear { 1.0 + f64::from(count).ln() } else { f64::from(count) }
}

/// The n-grams while they are read; numbers are given in the order in which n-grams come.
struct Tree<'a> {
    words: Vec<&'a str>,
    number_of: FastMap<&'a str, u32>,
    unigrams: Vec<u32>,
    edges: Vec<(u64, Edge)>,
    place_of: FastMap<u64, usize>,
    nodes: u32,
}

impl<'a> Tree<'a> {
    fn of<S: AsRef<str>>(vocabulary: &'a [S], order: &[usize], settings: Settings) -> Result<Self> {
        let mut this = Self {
            words: Vec::new(),
            number_of: FastMap::default(),
            unigrams: Vec::new(),
            edges: Vec::new(),
            place_of: FastMap::default(),
            nodes: 0,
        };
        for &index in order {
            for word in vocabulary[index].as_ref().split(' ') {
                let fresh = this.words.len() as u32;
                if *this.number_of.entry(word).or_insert(fresh) == fresh {
                    this.words.push(word);
                }
            }
        }
        this.nodes = this.words.len() as u32;
        this.unigrams = vec![NONE; this.words.len()];
        for (feature, &index) in order.iter().enumerate() {
            let ngram = vocabulary[index].as_ref();
            let wrong =
                |rule: String| Error::invalid(format!("vocabulary[{index}]"), format!("{ngram:?}"), rule);
            let Settings { least_words, most_words, .. } = settings;
            if !(least_words..=most_words).contains(&ngram.split(' ').count())
                || ngram.split(' ').any(str::is_empty)
            {
                return Err(wrong(format!(
                    "is not {least_words} to {most_words} words with a space between them"
                )));
            }
            let end = this.end_of(ngram);
            if *end != NONE {
                return Err(wrong("is there twice".to_owned()));
            }
            *end = feature as u32;
        }
        Ok(this)
    }

    /// Where the number of an n-gram stands; the way to it is made.
    fn end_of(&mut self, ngram: &str) -> &mut u32 {
        let numbers: Vec<u32> =
            ngram.split(' ').filter_map(|word| self.number_of.get(word).copied()).collect();
        let mut node = numbers[0];
        let mut end = None;
        for (at, &word) in numbers.iter().enumerate().skip(1) {
            let key = Edges::key(node, word);
            let fresh = self.edges.len();
            let place = *self.place_of.entry(key).or_insert(fresh);
            if place == fresh {
                self.edges.push((key, Edge { node: NONE, feature: NONE }));
            }
            let edge = &mut self.edges[place].1;
            if at + 1 < numbers.len() && edge.node == NONE {
                edge.node = self.nodes;
                self.nodes += 1;
            }
            node = edge.node;
            end = Some(place);
        }
        match end {
            Some(place) => &mut self.edges[place].1.feature,
            None => &mut self.unigrams[numbers[0] as usize],
        }
    }
}

fn check<S>(parts: &Parts<'_, S>, settings: Settings) -> Result<()> {
    let count = parts.vocabulary.len();
    for (name, values) in [("idf", parts.idf), ("r", parts.r), ("coef", parts.coef)] {
        if values.len() != count {
            let rule = format!("values are not one for each of {count} n-grams");
            return Err(Error::invalid(name, values.len(), rule));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::invalid(format!("{name}[{at}]"), values[at], "is not finite"));
        }
    }
    if !parts.intercept.is_finite() {
        return Err(Error::invalid("intercept", parts.intercept, "is not finite"));
    }
    let Settings { least_words, most_words, .. } = settings;
    if least_words < 1 || most_words < least_words {
        let found = format!("({least_words}, {most_words})");
        return Err(Error::invalid("ngram_range", found, "is not ascending from 1 on"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
