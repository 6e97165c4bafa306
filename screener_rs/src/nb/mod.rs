//! A linear screener: TF-IDF over n-grams of words, weighted by naive Bayes log-ratios, logistic regression on top.
//!
//! With `t = 1 + ln(count)` (or the count itself) the logit is `b + sum(t c) / sqrt(sum(t^2 d))`, where
//! `c = coefficient * r * idf` and `d = idf^2` are folded at load.

mod words;

use crate::error::{Error, Result};
use crate::hash::FastMap;
use crate::parallel;
use crate::verdict::sigmoid;
use words::{Preprocessing, WordScratch, each_word};

const NO_FEATURE: u32 = u32::MAX;
const ROOT: u32 = 0;

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
/// N-grams are paths in a tree: the children of a node are keyed by node and word, so no text is joined. Words and
/// inner nodes are there even where only a longer n-gram was kept.
pub struct NbLogistic {
    words: FastMap<Box<[u8]>, u32>,
    children: FastMap<u64, u32>,
    /// Of each node, the n-gram that ends there.
    feature_of: Vec<u32>,
    features: Vec<Feature>,
    weights: Vec<f64>,
    intercept: f64,
    settings: Settings,
}

/// Buffers kept from text to text.
#[derive(Default)]
struct Scratch {
    text: WordScratch,
    words: Vec<Option<u32>>,
    found: Vec<u32>,
}

fn edge(node: u32, word: u32) -> u64 {
    u64::from(node) << 32 | u64::from(word)
}

impl NbLogistic {
    /// Folds the parts.
    ///
    /// # Errors
    /// [`Error::Invalid`] for parts of unequal length, values that are not finite, and n-grams that are there twice
    /// or have a count of words outside the settings.
    pub fn new<S: AsRef<str>>(parts: Parts<'_, S>, settings: Settings) -> Result<Self> {
        check(&parts, settings)?;
        let count = parts.vocabulary.len();
        let mut this = Self {
            words: FastMap::default(),
            children: FastMap::default(),
            feature_of: vec![NO_FEATURE],
            features: Vec::with_capacity(count),
            weights: (0..count).map(|i| parts.coef[i] * parts.r[i]).collect(),
            intercept: parts.intercept,
            settings,
        };
        for (index, ngram) in parts.vocabulary.iter().enumerate() {
            this.insert(index, ngram.as_ref())?;
            let idf = parts.idf[index];
            this.features.push(Feature { c: this.weights[index] * idf, d: idf * idf });
        }
        Ok(this)
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
    pub fn score<S: AsRef<str> + Sync>(&self, texts: &[S], threads: usize) -> Vec<f64> {
        let sizes = texts.iter().map(|text| text.as_ref().len());
        let parts = parallel::map_chunks(texts, sizes, threads, |chunk| {
            let mut scratch = Scratch::default();
            chunk.iter().map(|text| sigmoid(self.logit(text.as_ref(), &mut scratch))).collect::<Vec<f64>>()
        });
        parts.concat()
    }

    fn insert(&mut self, index: usize, ngram: &str) -> Result<()> {
        let wrong = |rule: &str| Error::invalid(format!("vocabulary[{index}]"), format!("{ngram:?}"), rule);
        let Settings { least_words, most_words, .. } = self.settings;
        if !(least_words..=most_words).contains(&ngram.split(' ').count())
            || ngram.split(' ').any(str::is_empty)
        {
            return Err(wrong(&format!(
                "is not {least_words} to {most_words} words with a space between them"
            )));
        }
        let mut node = ROOT;
        for word in ngram.split(' ') {
            let fresh = self.words.len() as u32;
            let word = *self.words.entry(word.as_bytes().into()).or_insert(fresh);
            let fresh = self.feature_of.len() as u32;
            node = *self.children.entry(edge(node, word)).or_insert(fresh);
            if node == fresh {
                self.feature_of.push(NO_FEATURE);
            }
        }
        let feature = &mut self.feature_of[node as usize];
        if *feature != NO_FEATURE {
            return Err(wrong("is there twice"));
        }
        *feature = index as u32;
        Ok(())
    }

    /// Sums in the order of the vocabulary, so that a score depends on nothing but the text.
    fn logit(&self, text: &str, scratch: &mut Scratch) -> f64 {
        self.find(text, scratch);
        scratch.found.sort_unstable();
        let (mut numerator, mut squared_norm) = (0.0, 0.0);
        for equal in scratch.found.chunk_by(|a, b| a == b) {
            let count = equal.len() as f64;
            let t = if self.settings.sublinear_tf { 1.0 + count.ln() } else { count };
            let Feature { c, d } = self.features[equal[0] as usize];
            numerator += t * c;
            squared_norm += t * t * d;
        }
        if squared_norm > 0.0 { self.intercept + numerator / squared_norm.sqrt() } else { self.intercept }
    }

    /// Collects the n-grams of a text that are in the vocabulary, each as often as it occurs.
    fn find(&self, text: &str, scratch: &mut Scratch) {
        let Scratch { text: buffers, words, found } = scratch;
        let how =
            Preprocessing { lowercase: self.settings.lowercase, strip_accents: self.settings.strip_accents };
        words.clear();
        found.clear();
        each_word(text, how, buffers, |word| words.push(self.words.get(word.as_bytes()).copied()));
        for start in 0..words.len() {
            let mut node = ROOT;
            for &word in words[start..].iter().take(self.settings.most_words) {
                let Some(next) = word.and_then(|word| self.children.get(&edge(node, word))) else { break };
                node = *next;
                found.extend(Some(self.feature_of[node as usize]).filter(|&feature| feature != NO_FEATURE));
            }
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
mod tests {
    use super::*;

    const SETTINGS: Settings =
        Settings { least_words: 1, most_words: 2, lowercase: true, strip_accents: true, sublinear_tf: true };

    fn model(vocabulary: &[&str]) -> Result<NbLogistic> {
        let ones = vec![1.0; vocabulary.len()];
        let idf: Vec<f64> = (1..=vocabulary.len()).map(|i| i as f64).collect();
        NbLogistic::new(Parts { vocabulary, idf: &idf, r: &ones, coef: &ones, intercept: -1.0 }, SETTINGS)
    }

    #[test]
    fn the_logit_is_the_normalised_sum() {
        let model = model(&["bad", "bad dog", "cat"]).unwrap();
        let logit = |text: &str| model.logit(text, &mut Scratch::default());
        assert_eq!(logit("nothing known"), -1.0);
        assert_eq!(logit("BÁD"), 0.0);
        assert!((logit("bad dog") - (3.0 / 5.0f64.sqrt() - 1.0)).abs() < 1e-12);
        let t = 1.0 + 2.0f64.ln();
        assert!((logit("cat, bad cat") - ((1.0 + 3.0 * t) / (1.0 + 9.0 * t * t).sqrt() - 1.0)).abs() < 1e-12);
    }

    #[test]
    fn a_bigram_is_found_though_its_words_are_not_in_the_vocabulary() {
        let model = model(&["very bad"]).unwrap();
        assert_eq!(model.logit("very bad", &mut Scratch::default()), 0.0);
        assert_eq!(model.logit("very, BAD very", &mut Scratch::default()), 0.0);
        assert_eq!(model.logit("bad very", &mut Scratch::default()), -1.0);
    }

    #[test]
    fn parts_that_do_not_fit_are_named() {
        assert!(
            model(&["a b c"])
                .err()
                .unwrap()
                .to_string()
                .starts_with("vocabulary[0]: \"a b c\" is not 1 to 2")
        );
        assert!(model(&["ab", "ab"]).err().unwrap().to_string().ends_with("is there twice"));
    }
}
