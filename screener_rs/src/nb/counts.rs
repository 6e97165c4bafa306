//! How often each n-gram of one text occurs.

/// A counter for each n-gram of the vocabulary, zero between two texts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    counts: Vec<u32>,
    /// Those above zero, in the order in which they first occurred; a place for each n-gram and one more.
    found: Vec<u32>,
    /// How many those are.
    len: usize,
}

impl Counts {
    /// For so many n-grams.
    pub fn of(features: usize) -> Self {
        Self { counts: vec![0; features], found: vec![0; features + 1], len: 0 }
    }

    /// One more.
    pub fn add(&mut self, feature: u32) {
        let count = &mut self.counts[feature as usize];
        // Written in any case and kept if it is new: whether it is cannot be foreseen, and a branch would be.
        self.found[self.len] = feature;
        self.len += usize::from(*count == 0);
        *count += 1;
    }

    /// Gives each n-gram with its count, and sets it to zero.
    pub fn drain(&mut self, mut each: impl FnMut(u32, u32)) {
        for &feature in &self.found[..std::mem::take(&mut self.len)] {
            each(feature, std::mem::take(&mut self.counts[feature as usize]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_come_in_order_of_first_occurrence_and_once() {
        let mut counts = Counts::of(5);
        for _ in 0..2 {
            [3, 1, 3, 4, 3].into_iter().for_each(|feature| counts.add(feature));
            let mut found = Vec::new();
            counts.drain(|feature, count| found.push((feature, count)));
            assert_eq!(found, [(3, 3), (1, 1), (4, 1)]);
        }
    }
}
