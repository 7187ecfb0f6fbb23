//! Integers in decimal.

/// Every number below 100, as two digits.
static PAIRS: [[u8; 2]; 100] = {
    let mut table = [[b'0'; 2]; 100];
    let mut number: u8 = 0;
    while number < 100 {
        table[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    table
};

/// Appends a number.
#[inline]
pub fn write_i64(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    write_u64(number.unsigned_abs(), out);
}

/// Appends a number.
#[inline]
pub fn write_u64(mut number: u64, out: &mut Vec<u8>) {
    // As many digits as the largest number has, filled from the right.
    let mut digits = [0; 20];
    let mut start = digits.len();
    while number >= 10 {
        let pair = PAIRS[(number % 100) as usize];
        number /= 100;
        start -= 2;
        digits[start..start + 2].copy_from_slice(&pair);
    }
    if number > 0 || start == digits.len() {
        start -= 1;
        digits[start] = PAIRS[(number % 10) as usize][1];
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_are_those_of_the_standard_library() {
        let mut out = Vec::new();
        let mut power = 1_u64;
        for _ in 0..20 {
            for number in [power - 1, power, power + 1, power.wrapping_mul(9), u64::MAX] {
                out.clear();
                write_u64(number, &mut out);
                assert_eq!(out, number.to_string().as_bytes());
                let signed = number.cast_signed().wrapping_neg();
                out.clear();
                write_i64(signed, &mut out);
                assert_eq!(out, signed.to_string().as_bytes());
            }
            power = power.wrapping_mul(10);
        }
        out.clear();
        write_i64(i64::MIN, &mut out);
        assert_eq!(out, b"-9223372036854775808");
    }
}
