//! The four character classes that byte-level patterns distinguish, as Oniguruma sees them.

use std::sync::LazyLock;

use super::in_ranges;
use super::oniguruma::{LETTERS, NUMBERS};

/// `\p{L}`, `\p{N}`, `\s`, or none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Letter,
    Number,
    Space,
    Other,
}

static BMP: LazyLock<Vec<Class>> =
    LazyLock::new(|| (0..0x1_0000).map(|p| char::from_u32(p).map_or(Class::Other, search)).collect());

fn search(c: char) -> Class {
    let point = u32::from(c);
    if in_ranges(LETTERS, point) {
        Class::Letter
    } else if in_ranges(NUMBERS, point) {
        Class::Number
    } else if c.is_whitespace() {
        Class::Space
    } else {
        Class::Other
    }
}

/// Class of a character.
pub(crate) fn class(c: char) -> Class {
    match c {
        'a'..='z' | 'A'..='Z' => Class::Letter,
        ' ' => Class::Space,
        _ => BMP.get(c as usize).copied().unwrap_or_else(|| search(c)),
    }
}
