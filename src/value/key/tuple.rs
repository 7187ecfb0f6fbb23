//! Elements of FoundationDB tuples: writing and reading.

use super::super::error::ValueError;

const NULL: u8 = 0x00;
const BYTES: u8 = 0x01;
const STRING: u8 = 0x02;
const NESTED: u8 = 0x05;
const ZERO: u8 = 0x14;
const FLOAT4: u8 = 0x20;
const FLOAT8: u8 = 0x21;
const FALSE: u8 = 0x26;
const TRUE: u8 = 0x27;

/// End of a byte string, a string, or a nested tuple.
const END: u8 = 0x00;
/// Byte after a zero byte that belongs to a string and does not end it.
const ESCAPE: u8 = 0xFF;

const fn error(expected: &'static str) -> ValueError {
    ValueError::new("stored row key", expected)
}

pub(super) fn write_null(out: &mut Vec<u8>) {
    out.push(NULL);
}

pub(super) fn read_null(input: &mut &[u8]) -> bool {
    take_code(input, NULL)
}

pub(super) fn write_bool(value: bool, out: &mut Vec<u8>) {
    out.push(if value { TRUE } else { FALSE });
}

pub(super) fn read_bool(input: &mut &[u8]) -> Result<bool, ValueError> {
    if take_code(input, TRUE) {
        return Ok(true);
    }
    if take_code(input, FALSE) {
        Ok(false)
    } else {
        Err(error("a boolean element"))
    }
}

/// Appends an integer. The code is [`ZERO`] plus or minus the length in bytes; a negative number is
/// stored as its distance from -(256^length - 1).
pub(super) fn write_integer(value: i64, out: &mut Vec<u8>) {
    let magnitude = value.unsigned_abs();
    let length = 8 - magnitude.leading_zeros() / 8;
    let bytes = if value < 0 { !magnitude } else { magnitude }.to_be_bytes();
    // At most 8.
    let offset = u8::try_from(length).unwrap_or(8);
    out.push(if value < 0 {
        ZERO - offset
    } else {
        ZERO + offset
    });
    out.extend_from_slice(
        bytes
            .get(bytes.len() - usize::from(offset)..)
            .unwrap_or_default(),
    );
}

pub(super) fn read_integer(input: &mut &[u8]) -> Result<i64, ValueError> {
    let expected = error("an integer element");
    let [code @ 0x0C..=0x1C, rest @ ..] = *input else {
        return Err(expected);
    };
    let length = usize::from(code.abs_diff(ZERO));
    let (bytes, rest) = rest.split_at_checked(length).ok_or(expected)?;
    let number = bytes
        .iter()
        .fold(0, |number, byte| number << 8 | i128::from(*byte));
    let value = if *code < ZERO {
        number - ((1 << (8 * length)) - 1)
    } else {
        number
    };
    *input = rest;
    i64::try_from(value).map_err(|_| expected)
}

pub(super) fn write_float4(value: f32, out: &mut Vec<u8>) {
    // All NaNs are stored as the one without sign and payload.
    let bits = if value.is_nan() {
        0x7FC0_0000
    } else {
        value.to_bits()
    };
    out.push(FLOAT4);
    let ordered = if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    };
    out.extend_from_slice(&ordered.to_be_bytes());
}

pub(super) fn read_float4(input: &mut &[u8]) -> Result<f32, ValueError> {
    let ordered = u32::from_be_bytes(read_array(input, FLOAT4, "a single float element")?);
    Ok(f32::from_bits(if ordered >> 31 == 1 {
        ordered & !(1 << 31)
    } else {
        !ordered
    }))
}

pub(super) fn write_float8(value: f64, out: &mut Vec<u8>) {
    let bits = if value.is_nan() {
        0x7FF8_0000_0000_0000
    } else {
        value.to_bits()
    };
    out.push(FLOAT8);
    let ordered = if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    };
    out.extend_from_slice(&ordered.to_be_bytes());
}

pub(super) fn read_float8(input: &mut &[u8]) -> Result<f64, ValueError> {
    let ordered = u64::from_be_bytes(read_array(input, FLOAT8, "a double float element")?);
    Ok(f64::from_bits(if ordered >> 63 == 1 {
        ordered & !(1 << 63)
    } else {
        !ordered
    }))
}

fn read_array<const N: usize>(
    input: &mut &[u8],
    code: u8,
    expected: &'static str,
) -> Result<[u8; N], ValueError> {
    let (found, rest) = input.split_first().ok_or(error(expected))?;
    let (bytes, rest) = rest.split_first_chunk().ok_or(error(expected))?;
    if *found != code {
        return Err(error(expected));
    }
    *input = rest;
    Ok(*bytes)
}

pub(super) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_escaped(BYTES, bytes, out);
}

pub(super) fn read_bytes(input: &mut &[u8]) -> Result<Vec<u8>, ValueError> {
    read_escaped(input, BYTES).ok_or(error("a byte string element"))
}

pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    write_escaped(STRING, text.as_bytes(), out);
}

pub(super) fn read_string(input: &mut &[u8]) -> Result<String, ValueError> {
    let expected = error("a string element");
    let bytes = read_escaped(input, STRING).ok_or(expected)?;
    String::from_utf8(bytes).map_err(|_| expected)
}

/// Appends a nested tuple with the elements that the closure appends.
pub(super) fn write_nested(out: &mut Vec<u8>, elements: impl FnOnce(&mut Vec<u8>)) {
    out.push(NESTED);
    elements(out);
    out.push(END);
}

/// Reads a nested tuple, whose elements the closure reads.
pub(super) fn read_nested<T>(
    input: &mut &[u8],
    elements: impl FnOnce(&mut &[u8]) -> Result<T, ValueError>,
) -> Result<T, ValueError> {
    if !take_code(input, NESTED) {
        return Err(error("a nested element"));
    }
    let found = elements(input)?;
    if take_code(input, END) {
        Ok(found)
    } else {
        Err(error("the end of a nested element"))
    }
}

fn take_code(input: &mut &[u8], code: u8) -> bool {
    match input.split_first() {
        Some((found, rest)) if *found == code => {
            *input = rest;
            true
        }
        _ => false,
    }
}

fn write_escaped(code: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    out.push(code);
    for byte in bytes {
        out.push(*byte);
        if *byte == END {
            out.push(ESCAPE);
        }
    }
    out.push(END);
}

fn read_escaped(input: &mut &[u8], code: u8) -> Option<Vec<u8>> {
    let mut rest = input.strip_prefix(&[code])?;
    let mut bytes = Vec::new();
    loop {
        let end = rest.iter().position(|&byte| byte == END)?;
        let (run, after) = rest.split_at(end);
        bytes.extend_from_slice(run);
        match after {
            [END, ESCAPE, after @ ..] => {
                bytes.push(END);
                rest = after;
            }
            [END, after @ ..] => {
                *input = after;
                return Some(bytes);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_length_are_stored_and_read() {
        let rows: [(i64, &[u8]); 13] = [
            (0, &[0x14]),
            (1, &[0x15, 1]),
            (255, &[0x15, 0xFF]),
            (256, &[0x16, 1, 0]),
            (1723, &[0x16, 0x06, 0xBB]),
            (65_536, &[0x17, 1, 0, 0]),
            (4_294_967_295, &[0x18, 0xFF, 0xFF, 0xFF, 0xFF]),
            (
                i64::MAX,
                &[0x1C, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            ),
            (-1, &[0x13, 0xFE]),
            (-3, &[0x13, 0xFC]),
            (-300, &[0x12, 0xFE, 0xD3]),
            (-2_147_483_648, &[0x10, 0x7F, 0xFF, 0xFF, 0xFF]),
            (
                i64::MIN,
                &[0x0C, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            ),
        ];
        for (value, bytes) in rows {
            let mut out = Vec::new();
            write_integer(value, &mut out);
            assert_eq!(out, bytes, "{value}");
            assert_eq!(read_integer(&mut out.as_slice()), Ok(value));
            for length in 0..out.len() {
                assert!(read_integer(&mut &out[..length]).is_err());
            }
        }
        for hostile in [
            &[0x1C, 0xFF, 0, 0, 0, 0, 0, 0, 0][..],
            &[0x0C, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x1D],
            &[0x0B],
            &[],
        ] {
            assert!(read_integer(&mut &*hostile).is_err());
        }
    }

    #[test]
    fn strings_end_at_an_unescaped_zero() {
        let mut out = Vec::new();
        write_bytes(&[0x00, 0xFF], &mut out);
        assert_eq!(out, [0x01, 0x00, 0xFF, 0xFF, 0x00]);
        out.push(7);
        let mut input = out.as_slice();
        assert_eq!(read_bytes(&mut input), Ok(vec![0x00, 0xFF]));
        assert_eq!(input, [7]);
        // Cut before the escape, it is a string that ends there.
        for length in [0, 1, 3, 4] {
            assert!(read_bytes(&mut &out[..length]).is_err(), "{length}");
        }
        assert!(read_string(&mut [0x02, 0xC3, 0x00].as_slice()).is_err());
    }
}
