//! Scores against the definition, on cases that the fast paths could get wrong.

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
    let logit = |text: &str| model.logit(text, &mut model.take());
    assert_eq!(logit("nothing known"), -1.0);
    assert_eq!(logit("BÁD"), 0.0);
    assert!((logit("bad dog") - (3.0 / 5.0f64.sqrt() - 1.0)).abs() < 1e-12);
    let t = 1.0 + 2.0f64.ln();
    assert!((logit("cat, bad cat") - ((1.0 + 3.0 * t) / (1.0 + 9.0 * t * t).sqrt() - 1.0)).abs() < 1e-12);
}

#[test]
fn counts_beyond_those_that_are_looked_up_weigh_by_the_same_rule() {
    let model = model(&["bad", "cat"]).unwrap();
    for count in 1..=2 * TABLED_COUNTS {
        let text = format!("cat {}", "bad ".repeat(count as usize));
        let t = 1.0 + f64::from(count).ln();
        let expected = (2.0 + t) / (4.0 + t * t).sqrt() - 1.0;
        assert!((model.logit(&text, &mut model.take()) - expected).abs() < 1e-12);
    }
}

#[test]
fn a_bigram_is_found_though_its_words_are_not_in_the_vocabulary() {
    let model = model(&["very bad"]).unwrap();
    let logit = |text: &str| model.logit(text, &mut model.take());
    assert_eq!(logit("very bad"), 0.0);
    assert_eq!(logit("very, BAD very"), 0.0);
    assert_eq!(logit("bad very"), -1.0);
}

#[test]
fn parts_that_do_not_fit_are_named() {
    assert!(
        model(&["a b c"]).err().unwrap().to_string().starts_with("vocabulary[0]: \"a b c\" is not 1 to 2")
    );
    assert!(model(&["ab", "ab"]).err().unwrap().to_string().ends_with("is there twice"));
}
