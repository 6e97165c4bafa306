//! SentencePiece's compiled table of replacements: a Darts double array and the texts it points to.

use unicode_segmentation::UnicodeSegmentation;

use super::base64;
use super::json::Field;
use crate::error::Result;

/// Longer grapheme clusters are looked up character by character; the reference's constant, in bytes.
const LONGEST_CLUSTER: usize = 5;

/// The table.
pub(crate) struct Precompiled {
    units: Vec<u32>,
    /// Replacements, each ended by a NUL.
    replacements: String,
    /// ASCII bytes that the table leaves as they are.
    kept: [bool; 128],
}

impl Precompiled {
    pub fn read(field: &Field<'_>) -> Result<Self> {
        let bytes = base64::decode(field.string()?).ok_or_else(|| field.wrong("base64"))?;
        let wrong = || field.wrong("a SentencePiece charsmap");
        let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(wrong)?;
        let size = u32::from_le_bytes(*size) as usize / 4 * 4;
        let (trie, replacements) = rest.split_at_checked(size).ok_or_else(wrong)?;
        let replacements = String::from_utf8(replacements.to_vec()).map_err(|_| wrong())?;
        let units: Vec<u32> = trie.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
        if units.is_empty() {
            return Err(wrong());
        }
        let mut this = Self { units, replacements, kept: [false; 128] };
        this.kept = std::array::from_fn(|byte| {
            let c = char::from(byte as u8);
            this.replacement(c.encode_utf8(&mut [0; 4])).is_none_or(|new| new.chars().eq([c]))
        });
        Ok(this)
    }

    /// Whether every character stands for itself; `\r\n` is one cluster, so it is not asked for here.
    pub fn keeps_ascii(&self, text: &str) -> bool {
        text.bytes().all(|byte| byte != b'\r' && self.kept.get(usize::from(byte)) == Some(&true))
    }

    /// Whether all printable ASCII characters stand for themselves.
    pub fn keeps_printable(&self) -> bool {
        (b' '..=b'~').all(|byte| self.kept[usize::from(byte)])
    }

    pub fn normalize(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for cluster in text.graphemes(true) {
            match self.replacement(cluster).filter(|_| cluster.len() <= LONGEST_CLUSTER) {
                Some(new) => out.push_str(new),
                None => self.push_chars(cluster, &mut out),
            }
        }
        out
    }

    fn push_chars(&self, cluster: &str, out: &mut String) {
        for c in cluster.chars() {
            match self.replacement(c.encode_utf8(&mut [0; 4])) {
                Some(new) => out.push_str(new),
                None => out.push(c),
            }
        }
    }

    /// What replaces the whole chunk: the entry of its *shortest* prefix in the table, as in the reference.
    fn replacement(&self, chunk: &str) -> Option<&str> {
        let mut at = offset(*self.units.first()?);
        for &byte in chunk.as_bytes().iter().take_while(|&&byte| byte != 0) {
            at ^= usize::from(byte);
            let unit = *self.units.get(at)?;
            if unit & (1 << 31 | 0xFF) != u32::from(byte) {
                return None;
            }
            at ^= offset(unit);
            if unit >> 8 & 1 == 1 {
                let start = (self.units.get(at)? & !(1 << 31)) as usize;
                return self.replacements.get(start..)?.split('\0').next();
            }
        }
        None
    }
}

/// Distance to the children of a Darts unit.
fn offset(unit: u32) -> usize {
    (unit as usize >> 10) << ((unit & 1 << 9) >> 6)
}
