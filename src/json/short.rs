//! Short texts, moved in registers instead of by memcpy.

/// Returns at most 16 bytes as an integer, the first byte in its lowest bits, padded with zeros.
#[inline(always)]
pub(crate) fn padded(bytes: &[u8]) -> u128 {
    debug_assert!(bytes.len() <= 16);
    let shift = |from: usize| 8 * (bytes.len() - from);
    // Two loads that overlap; the bytes that both contain are equal.
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let last = u128::from(u64::from_le_bytes(*last));
        return u128::from(u64::from_le_bytes(*first)) | last << shift(8);
    }
    u128::from(padded_word(bytes))
}

/// Returns at most 8 bytes as an integer, the first byte in its lowest bits, padded with zeros.
#[inline(always)]
pub(crate) fn padded_word(bytes: &[u8]) -> u64 {
    debug_assert!(bytes.len() <= 8);
    let shift = |from: usize| 8 * (bytes.len() - from);
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let last = u64::from(u32::from_le_bytes(*last));
        return u64::from(u32::from_le_bytes(*first)) | last << shift(4);
    }
    match *bytes {
        [a, b, c] => u64::from(u32::from_le_bytes([a, b, c, 0])),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a] => u64::from(a),
        _ => 0,
    }
}

/// Appends the first `length` of these bytes. The whole array is written and the remainder taken
/// back, which costs less than writing exactly `length` bytes.
#[inline(always)]
pub(crate) fn push_part<const N: usize>(bytes: &[u8; N], length: usize, out: &mut Vec<u8>) {
    let end = out.len() + length;
    out.extend_from_slice(bytes);
    out.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_padded_with_zeros() {
        let bytes: Vec<u8> = (1..=16).collect();
        for length in 0..=16 {
            let mut expected = [0; 16];
            expected[..length].copy_from_slice(&bytes[..length]);
            assert_eq!(padded(&bytes[..length]).to_le_bytes(), expected);
            if length <= 8 {
                let word = padded_word(&bytes[..length]);
                assert_eq!(u128::from(word).to_le_bytes(), expected);
            }
            let mut out = vec![0];
            push_part(&expected, length, &mut out);
            assert_eq!(out[1..], bytes[..length]);
        }
    }
}
