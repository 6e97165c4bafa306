//! Classes of 64 bytes at once, as bit masks: with AVX2 where the processor has it, else byte by byte.
//!
//! `unsafe` is here for two reasons: intrinsics that load from memory, here always from an
//! array of the right size, and the call of code compiled for AVX2, here always behind its detection.

/// Bytes of a block.
pub(crate) const BLOCK: usize = 64;

/// A block, and room for a key of 16 bytes that begins in it.
pub(crate) const WINDOW: usize = BLOCK + 16;

/// Bit `i` of a mask says whether byte `i` of the block is of the class. All but `wide` hold ASCII bytes only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Classes {
    /// A to Z, a to z.
    pub letters: u64,
    /// 0 to 9.
    pub digits: u64,
    /// The space.
    pub spaces: u64,
    /// Tab, line feed, carriage return.
    pub blanks: u64,
    /// Vertical tab, form feed.
    pub feeds: u64,
    /// All other bytes below 0x20, and 0x7F.
    pub controls: u64,
    /// Not ASCII.
    pub wide: u64,
}

impl Classes {
    /// Everything else: ASCII punctuation and symbols.
    pub fn marks(&self) -> u64 {
        !(self.letters | self.digits | self.spaces | self.blanks | self.feeds | self.controls | self.wide)
    }
}

/// How the first 64 bytes of a window are looked at; chosen once for each text.
pub(crate) trait Scan: Copy {
    fn classes(self, block: &[u8; WINDOW]) -> Classes;
    /// Where the block holds one byte.
    fn equal(self, block: &[u8; WINDOW], byte: u8) -> u64;
}

/// Byte by byte, on any processor.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

const LETTER: u8 = 1;
const DIGIT: u8 = 2;
const SPACE: u8 = 4;
const BLANK: u8 = 8;
const CONTROL: u8 = 16;
const WIDE: u8 = 32;
const FEED: u8 = 64;

const CLASS: [u8; 256] = class_table();

const fn class_table() -> [u8; 256] {
    let mut table = [WIDE; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = match byte as u8 {
            b'A'..=b'Z' | b'a'..=b'z' => LETTER,
            b'0'..=b'9' => DIGIT,
            b' ' => SPACE,
            b'\t' | b'\n' | b'\r' => BLANK,
            11 | 12 => FEED,
            0..=0x1F | 0x7F => CONTROL,
            _ => 0,
        };
        byte += 1;
    }
    table
}

impl Scan for Portable {
    #[inline(always)]
    fn classes(self, block: &[u8; WINDOW]) -> Classes {
        let mut found = Classes::default();
        for (at, &byte) in block.iter().take(BLOCK).enumerate() {
            let class = CLASS[usize::from(byte)];
            let bit = |wanted: u8| u64::from(class & wanted != 0) << at;
            found.letters |= bit(LETTER);
            found.digits |= bit(DIGIT);
            found.spaces |= bit(SPACE);
            found.blanks |= bit(BLANK);
            found.feeds |= bit(FEED);
            found.controls |= bit(CONTROL);
            found.wide |= bit(WIDE);
        }
        found
    }

    #[inline(always)]
    fn equal(self, block: &[u8; WINDOW], byte: u8) -> u64 {
        block
            .iter()
            .take(BLOCK)
            .enumerate()
            .fold(0, |mask, (at, &found)| mask | u64::from(found == byte) << at)
    }
}

/// Work on a text that is compiled once for each way to scan.
pub(crate) trait Work {
    fn run(self, scan: impl Scan);
}

/// Runs the work with the best scan of this processor.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(crate) fn dispatch(work: impl Work) {
    work.run(Portable);
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(crate) use x86::dispatch;

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[allow(unsafe_code)]
mod x86 {
    use std::arch::x86_64::{
        __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8,
        _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8, _mm256_setzero_si256,
        _mm256_shuffle_epi8, _mm256_srli_epi16,
    };

    use super::{Classes, Portable, Scan, WINDOW, Work};

    /// AVX2; made by [`dispatch`] alone, after it has asked the processor.
    #[derive(Clone, Copy)]
    struct Avx2;

    pub(crate) fn dispatch(work: impl Work) {
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
        {
            // SAFETY: the processor has every feature that the function is compiled for.
            unsafe { with_avx2(work) }
        } else {
            work.run(Portable);
        }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
    fn with_avx2(work: impl Work) {
        work.run(Avx2);
    }

    // Products of sets of high and low halves of a byte; each class is a union of them.
    const LETTERS_1: u8 = 1; // 4x and 6x, from 1 on
    const LETTERS_2: u8 = 2; // 5x and 7x, up to A
    const DIGITS: u8 = 4; // 3x, up to 9
    const BLANKS: u8 = 8; // 09, 0A, 0D
    const FEEDS: u8 = 16; // 0B, 0C
    const CONTROLS_1: u8 = 32; // 0x, all others
    const CONTROLS_2: u8 = 64; // 1x
    const DELETE: u8 = 128; // 7F

    const HIGH: [u8; 16] = {
        let mut table = [0; 16];
        table[0] = BLANKS | FEEDS | CONTROLS_1;
        table[1] = CONTROLS_2;
        table[3] = DIGITS;
        table[4] = LETTERS_1;
        table[5] = LETTERS_2;
        table[6] = LETTERS_1;
        table[7] = LETTERS_2 | DELETE;
        table
    };

    const LOW: [u8; 16] = {
        let mut table = [CONTROLS_2; 16];
        let mut low = 0;
        while low < 16 {
            if low >= 1 {
                table[low] |= LETTERS_1;
            }
            if low <= 10 {
                table[low] |= LETTERS_2;
            }
            if low <= 9 {
                table[low] |= DIGITS;
            }
            table[low] |= match low {
                9 | 10 | 13 => BLANKS,
                11 | 12 => FEEDS,
                _ => CONTROLS_1,
            };
            low += 1;
        }
        table[15] |= DELETE;
        table
    };

    // Functions rather than closures: what runs outside of them is not compiled for AVX2.

    #[inline]
    #[target_feature(enable = "avx2")]
    fn table(bytes: &[u8; 16]) -> __m256i {
        // SAFETY: the array has the 16 bytes that are read.
        _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn halves(block: &[u8; WINDOW]) -> (__m256i, __m256i) {
        let start: *const __m256i = block.as_ptr().cast();
        // SAFETY: the array has the 64 bytes that are read, and more; unaligned loads ask for no alignment.
        unsafe { (_mm256_loadu_si256(start), _mm256_loadu_si256(start.add(1))) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn signs(low: __m256i, high: __m256i) -> u64 {
        let (low, high) = (_mm256_movemask_epi8(low), _mm256_movemask_epi8(high));
        u64::from(low as u32) | u64::from(high as u32) << 32
    }

    /// Products of the halves of each byte. Above 0x7F the sign is set, for which the shuffle of the low half gives 0.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn products(bytes: __m256i) -> __m256i {
        let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(0x0F));
        _mm256_and_si256(_mm256_shuffle_epi8(table(&LOW), bytes), _mm256_shuffle_epi8(table(&HIGH), upper))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn any(low: __m256i, high: __m256i, bits: u8) -> u64 {
        let (bits, zero) = (_mm256_set1_epi8(bits as i8), _mm256_setzero_si256());
        let none = |half| _mm256_cmpeq_epi8(_mm256_and_si256(half, bits), zero);
        !signs(none(low), none(high))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn equal(block: &[u8; WINDOW], byte: u8) -> u64 {
        let (low, high) = halves(block);
        let wanted = _mm256_set1_epi8(byte as i8);
        signs(_mm256_cmpeq_epi8(low, wanted), _mm256_cmpeq_epi8(high, wanted))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn classes(block: &[u8; WINDOW]) -> Classes {
        let bytes = halves(block);
        let (low, high) = (products(bytes.0), products(bytes.1));
        Classes {
            letters: any(low, high, LETTERS_1 | LETTERS_2),
            digits: any(low, high, DIGITS),
            spaces: equal(block, b' '),
            blanks: any(low, high, BLANKS),
            feeds: any(low, high, FEEDS),
            controls: any(low, high, CONTROLS_1 | CONTROLS_2 | DELETE),
            wide: signs(bytes.0, bytes.1),
        }
    }

    impl Scan for Avx2 {
        #[inline(always)]
        fn classes(self, block: &[u8; WINDOW]) -> Classes {
            // SAFETY: an `Avx2` exists only where the processor has it.
            unsafe { classes(block) }
        }

        #[inline(always)]
        fn equal(self, block: &[u8; WINDOW], byte: u8) -> u64 {
            // SAFETY: an `Avx2` exists only where the processor has it.
            unsafe { equal(block, byte) }
        }
    }
}

/// The block that begins at a byte of a text, with a few bytes after it; beyond the end there are zeros.
pub(crate) struct Window<'a> {
    text: &'a [u8],
    tail: [u8; WINDOW],
}

impl<'a> Window<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, tail: [0; WINDOW] }
    }

    #[inline(always)]
    pub fn at(&mut self, start: usize) -> &[u8; WINDOW] {
        let rest = &self.text[start..];
        match rest.first_chunk() {
            Some(window) => window,
            None => {
                self.tail = [0; WINDOW];
                self.tail[..rest.len()].copy_from_slice(rest);
                &self.tail
            }
        }
    }
}

/// A mask of the lowest bits.
#[inline(always)]
pub(crate) fn lowest(bits: usize) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// The bytes of a class that follow one of another class, or begin the block.
#[inline(always)]
pub(crate) fn run_starts(class: u64) -> u64 {
    class & !(class << 1)
}

/// How many bytes of a class stand right before `end`.
#[inline(always)]
pub(crate) fn run_before(class: u64, end: usize) -> usize {
    if end == 0 { 0 } else { (class << (64 - end)).leading_ones() as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Compare<'a>(&'a [u8; WINDOW]);

    impl Work for Compare<'_> {
        fn run(self, scan: impl Scan) {
            assert_eq!(scan.classes(self.0), Portable.classes(self.0));
            for byte in [0, b'\'', b'a', 0x7F, 0x80, 0xFF] {
                assert_eq!(scan.equal(self.0, byte), Portable.equal(self.0, byte));
            }
        }
    }

    #[test]
    fn every_scan_finds_the_classes_of_every_byte_at_every_place() {
        for shift in 0..=255u8 {
            let block = std::array::from_fn(|at| (at as u8).wrapping_mul(5).wrapping_add(shift));
            dispatch(Compare(&block));
        }
    }

    #[test]
    fn a_window_near_the_end_is_filled_up_with_zeros() {
        let text: Vec<u8> = (1..=100).collect();
        let mut window = Window::new(&text);
        assert_eq!(window.at(20)[..], text[20..]);
        assert_eq!(window.at(98)[..4], [99, 100, 0, 0]);
        assert_eq!(window.at(100), &[0; WINDOW]);
    }
}
