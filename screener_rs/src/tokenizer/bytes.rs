//! GPT-2's bijection between bytes and printable characters, in which byte-level vocabularies are written.

/// Bytes that stand for themselves.
fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The byte that a character of a byte-level vocabulary stands for.
pub(super) fn byte_of(c: char) -> Option<u8> {
    if let Ok(byte) = u8::try_from(u32::from(c)) {
        return is_printable(byte).then_some(byte);
    }
    let index = u32::from(c).checked_sub(256)? as usize;
    (0..=255u8).filter(|&byte| !is_printable(byte)).nth(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        let bytes: Vec<u8> = (0..0x200).filter_map(char::from_u32).filter_map(byte_of).collect();
        let mut sorted = bytes.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..=255).collect::<Vec<u8>>());
        assert_eq!(
            (byte_of('Ġ'), byte_of('Ċ'), byte_of('a'), byte_of(' ')),
            (Some(32), Some(10), Some(97), None)
        );
    }
}
