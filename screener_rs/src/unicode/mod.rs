//! Character classes of the libraries whose results this crate reproduces, each with their own Unicode version.

mod oniguruma;
mod python;

pub(crate) mod bert;
pub(crate) mod pattern;
pub(crate) mod text;

/// Whether a code point lies in one of the ascending inclusive ranges.
pub(crate) fn in_ranges(ranges: &[(u32, u32)], point: u32) -> bool {
    let after = ranges.partition_point(|&(first, _)| first <= point);
    after > 0 && point <= ranges[after - 1].1
}
