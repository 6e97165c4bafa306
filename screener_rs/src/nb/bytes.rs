//! Sixty-four bytes at a time: ASCII lower case, and which bytes belong to words.

/// Bytes that are looked at together.
pub(crate) const BLOCK: usize = 64;

/// Sixteen bytes from `at` on; zeros where there are fewer.
pub(crate) fn load(bytes: &[u8], at: usize) -> [u64; 2] {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>());
    let whole = u128::from_le_bytes(found.copied().unwrap_or_default());
    [whole as u64, (whole >> 64) as u64]
}

/// The block, its ASCII letters in lower case if asked for; a bit for each ASCII letter, digit and underscore; a bit for
/// each byte beyond ASCII.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(crate) fn classify(block: &[u8; BLOCK], lowercase: bool) -> ([u8; BLOCK], u64, u64) {
    // SAFETY: every x86-64 has SSE2.
    unsafe { classify_by_lanes(block, lowercase) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
fn classify_by_lanes(block: &[u8; BLOCK], lowercase: bool) -> ([u8; BLOCK], u64, u64) {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi8, _mm_and_si128, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_cvtsi128_si64,
        _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8, _mm_unpackhi_epi64,
    };
    let all = |byte: u8| _mm_set1_epi8(byte as i8);
    // Moved so that `first` becomes the least signed byte, one comparison tells a range.
    let within = |lane: __m128i, first: u8, count: u8| {
        let moved = _mm_add_epi8(lane, all(0x80u8.wrapping_sub(first)));
        _mm_cmplt_epi8(moved, all(0x80u8.wrapping_add(count)))
    };
    let bits = |lane: __m128i| u64::from(_mm_movemask_epi8(lane) as u16);
    let case = all(if lowercase { 0x20 } else { 0 });
    let (mut lowered, mut word, mut beyond) = ([0; BLOCK], 0, 0);
    let (lanes, _) = block.as_chunks::<16>();
    let (out, _) = lowered.as_chunks_mut::<16>();
    for (at, (lane, out)) in lanes.iter().zip(out).enumerate() {
        let [low, high] = load(lane, 0);
        let lane = _mm_set_epi64x(high as i64, low as i64);
        let upper = within(lane, b'A', 26);
        let letters = within(_mm_or_si128(lane, all(0x20)), b'a', 26);
        let others = _mm_or_si128(within(lane, b'0', 10), _mm_cmpeq_epi8(lane, all(b'_')));
        word |= bits(_mm_or_si128(letters, others)) << (16 * at);
        beyond |= bits(lane) << (16 * at);
        let lane = _mm_or_si128(lane, _mm_and_si128(upper, case));
        let whole = [_mm_cvtsi128_si64(lane), _mm_cvtsi128_si64(_mm_unpackhi_epi64(lane, lane))];
        *out = (u128::from(whole[0] as u64) | u128::from(whole[1] as u64) << 64).to_le_bytes();
    }
    (lowered, word, beyond)
}

/// The same byte by byte.
#[cfg(any(not(target_arch = "x86_64"), test))]
#[cfg_attr(target_arch = "x86_64", allow(dead_code))]
pub(crate) fn classify_plainly(block: &[u8; BLOCK], lowercase: bool) -> ([u8; BLOCK], u64, u64) {
    let (mut lowered, mut word, mut beyond) = (*block, 0, 0);
    for (at, byte) in lowered.iter_mut().enumerate() {
        word |= u64::from(byte.is_ascii_alphanumeric() || *byte == b'_') << at;
        beyond |= u64::from(!byte.is_ascii()) << at;
        if lowercase {
            byte.make_ascii_lowercase();
        }
    }
    (lowered, word, beyond)
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use classify_plainly as classify;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_classified_as_one_by_one() {
        for byte in 0..=u8::MAX {
            for at in 0..BLOCK {
                let mut block = [b' '; BLOCK];
                block[at] = byte;
                block[(at + 7) % BLOCK] = b'Z';
                for lowercase in [false, true] {
                    assert_eq!(
                        classify(&block, lowercase),
                        classify_plainly(&block, lowercase),
                        "{byte} at {at}"
                    );
                }
            }
        }
    }

    #[test]
    fn reading_past_the_end_gives_zeros() {
        assert_eq!(load(b"abc", 0), [0, 0]);
        assert_eq!(load(b"0123456789abcdefX", 1)[1], u64::from_le_bytes(*b"9abcdefX"));
        assert_eq!(load(b"", 9), [0, 0]);
    }
}
