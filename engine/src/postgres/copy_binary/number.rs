//! Numbers as `int8out`, `float8out` and `numeric_out` write them.

use super::{append, invalid};
use pgkeep_format::FormatError;
use std::fmt::LowerExp;
use std::str::FromStr;

/// Values of a numeric's sign field.
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITE: u16 = 0xd000;
const MINUS_INFINITE: u16 = 0xf000;

pub(super) fn integer(number: i64, text: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10).to_le_bytes()[0];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        text.push(b'-');
    }
    text.extend_from_slice(&digits[at..]);
}

/// What a floating-point type is made of, and how its numbers are written.
struct Kind {
    mantissa_bits: u32,
    bias: i32,
    /// As many digits tell every number from its neighbours.
    digits_max: usize,
    /// From this decimal exponent on, one is written.
    fixed: i32,
}

const FLOAT4: Kind = Kind { mantissa_bits: 23, bias: 150, digits_max: 9, fixed: 6 };
const FLOAT8: Kind = Kind { mantissa_bits: 52, bias: 1075, digits_max: 17, fixed: 15 };

pub(super) fn float8(number: f64, text: &mut Vec<u8>) {
    if !special(number.is_nan(), number.is_infinite(), number.is_sign_negative(), text) {
        finite(&FLOAT8, number.abs(), number.abs().to_bits(), text);
    }
}

pub(super) fn float4(number: f32, text: &mut Vec<u8>) {
    if !special(number.is_nan(), number.is_infinite(), number.is_sign_negative(), text) {
        finite(&FLOAT4, number.abs(), number.abs().to_bits().into(), text);
    }
}

/// Writes what is no number or without end, or else the sign; whether that was all.
fn special(is_nan: bool, is_infinite: bool, is_negative: bool, text: &mut Vec<u8>) -> bool {
    let (word, is_all): (&[u8], bool) = match (is_nan, is_infinite, is_negative) {
        (true, ..) => (b"NaN", true),
        (_, true, true) => (b"-Infinity", true),
        (_, true, false) => (b"Infinity", true),
        (_, _, true) => (b"-", false),
        _ => (b"", false),
    };
    text.extend_from_slice(word);
    is_all
}

/// The fewest digits that read back as a number that is not negative.
fn finite<F>(kind: &Kind, number: F, bits: u64, text: &mut Vec<u8>)
where
    F: Copy + PartialEq + LowerExp + FromStr,
{
    let (mut digits, mut exponent) = parts(&format!("{number:e}"));
    let binary = Binary::new(bits, kind);
    let mut precision = digits.len();
    while binary.is_between(&digits, exponent) && precision < kind.digits_max {
        (digits, exponent) = parts(&format!("{number:.precision$e}"));
        precision += 1;
    }
    binary.to_even(&mut digits, exponent, |text| text.parse().is_ok_and(|read: F| read == number));
    decimal(&digits, exponent, kind.fixed, text);
}

/// A number with zeros before it.
pub(super) fn padded<const N: usize>(number: u64, text: &mut Vec<u8>) {
    let (mut shown, mut rest) = ([b'0'; N], number);
    for digit in shown.iter_mut().rev() {
        *digit += (rest % 10).to_le_bytes()[0];
        rest /= 10;
    }
    text.extend_from_slice(&shown);
}

/// Digits without zeros at their end, and the exponent of the first, out of `-d.ddde-d`.
fn parts(scientific: &str) -> (Vec<u8>, i32) {
    let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let mut digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_digit).collect();
    while digits.len() > 1 && digits.last() == Some(&b'0') {
        digits.pop();
    }
    (digits, exponent.parse().unwrap_or_default())
}

/// A number as an integer and the power of two that it is to be multiplied with.
struct Binary {
    mantissa: u64,
    power: i32,
    /// Whether the neighbour below is half as far as the one above: at powers of two.
    is_near_below: bool,
}

impl Binary {
    /// Of a number's bits without its sign.
    fn new(bits: u64, kind: &Kind) -> Self {
        let Kind { mantissa_bits, bias, .. } = *kind;
        let fraction = bits & ((1 << mantissa_bits) - 1);
        let exponent = i32::try_from(bits >> mantissa_bits).unwrap_or_default();
        match exponent {
            0 => Self { mantissa: fraction, power: 1 - bias, is_near_below: false },
            _ => Self {
                mantissa: fraction | 1 << mantissa_bits,
                power: exponent - bias,
                is_near_below: fraction == 0 && exponent > 1,
            },
        }
    }

    /// Where the number lies exactly half way between two decimals of as many digits, takes the one
    /// with the even last digit, if that reads back as the number: below a power of two a decimal
    /// that is as far away may be another one.
    fn to_even(&self, digits: &mut [u8], exponent: i32, reads_back: impl Fn(&str) -> bool) {
        let odd = digits.to_vec();
        self.make_even(digits, exponent);
        let text = String::from_utf8_lossy(digits);
        let ten = exponent - i32::try_from(digits.len()).unwrap_or(i32::MAX) + 1;
        if *digits != odd && !reads_back(&format!("{text}e{ten}")) {
            digits.copy_from_slice(&odd);
        }
    }

    fn make_even(&self, digits: &mut [u8], exponent: i32) {
        let (decimal, ten) = integer_of(digits, exponent);
        let Some(last) = digits.last_mut().filter(|last| **last % 2 == 1) else { return };
        let is_half = |half: u128| equal(half, ten - 1, self.mantissa.into(), self.power);
        // An odd digit has both neighbours but for 9, whose upper one ends with a zero: a shorter one.
        if is_half(decimal * 10 - 5) {
            *last -= 1;
        } else if *last != b'9' && is_half(decimal * 10 + 5) {
            *last += 1;
        }
    }

    /// Whether decimal digits are exactly half way between the number and one of its neighbours.
    /// PostgreSQL takes none of them, whatever they would be read as.
    fn is_between(&self, digits: &[u8], exponent: i32) -> bool {
        let (decimal, ten) = integer_of(digits, exponent);
        // In quarters of the mantissa's last bit.
        let quarters = u128::from(self.mantissa) * 4;
        let below = quarters.saturating_sub(if self.is_near_below { 1 } else { 2 });
        [quarters + 2, below].iter().any(|half| equal(decimal, ten, *half, self.power - 2))
    }
}

/// Digits as an integer and the power of ten that it is to be multiplied with.
fn integer_of(digits: &[u8], exponent: i32) -> (u128, i32) {
    let decimal = digits.iter().fold(0_u128, |sum, digit| sum * 10 + u128::from(digit - b'0'));
    (decimal, exponent - i32::try_from(digits.len()).unwrap_or(i32::MAX) + 1)
}

/// Whether decimal × 10^ten is half × 2^two. Either side has at most 64 bits before its powers, so with
/// more than 28 fives it is not.
fn equal(decimal: u128, ten: i32, half: u128, two: i32) -> bool {
    if decimal == 0 || ten.abs() > 28 {
        return false;
    }
    let fives = 5_u128.pow(ten.unsigned_abs());
    let (left, right) = if ten >= 0 {
        (decimal.checked_mul(fives), Some(half))
    } else {
        (Some(decimal), half.checked_mul(fives))
    };
    let (Some(left), Some(right)) = (left, right) else { return false };
    // left × 2^ten = right × 2^two
    let twos = |number: u128| i32::try_from(number.trailing_zeros()).unwrap_or_default();
    left >> left.trailing_zeros() == right >> right.trailing_zeros()
        && twos(left) + ten == twos(right) + two
}

/// As `double_to_shortest_decimal_buf`: with an exponent where it is below -4 or not below `fixed`.
fn decimal(digits: &[u8], exponent: i32, fixed: i32, text: &mut Vec<u8>) {
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |count: i32| std::iter::repeat_n(b'0', usize::try_from(count).unwrap_or_default());
    if exponent < -4 || exponent >= fixed {
        text.push(digits[0]);
        if count > 1 {
            text.push(b'.');
            text.extend_from_slice(&digits[1..]);
        }
        append(text, format_args!("e{}{:02}", sign(exponent), exponent.abs()));
    } else if exponent < 0 {
        text.extend_from_slice(b"0.");
        text.extend(zeros(-1 - exponent));
        text.extend_from_slice(digits);
    } else if exponent + 1 >= count {
        text.extend_from_slice(digits);
        text.extend(zeros(exponent + 1 - count));
    } else {
        let (whole, fraction) = digits.split_at(usize::try_from(exponent + 1).unwrap_or_default());
        text.extend_from_slice(whole);
        text.push(b'.');
        text.extend_from_slice(fraction);
    }
}

fn sign(exponent: i32) -> char {
    if exponent < 0 { '-' } else { '+' }
}

/// ndigits, weight, sign and dscale, then digits of base 10000.
pub(super) fn numeric(value: &[u8], text: &mut Vec<u8>) -> Result<(), FormatError> {
    let (words, rest) = value.as_chunks::<2>();
    let (head, digits) = words.split_at_checked(4).ok_or_else(|| invalid("a numeric is short"))?;
    let word = |at: usize| u16::from_be_bytes(head[at]);
    if !rest.is_empty() || usize::from(word(0)) != digits.len() {
        return Err(invalid("a numeric has another length than it says"));
    }
    match word(2) {
        NAN => text.extend_from_slice(b"NaN"),
        INFINITE => text.extend_from_slice(b"Infinity"),
        MINUS_INFINITE => text.extend_from_slice(b"-Infinity"),
        0 | NEGATIVE => {
            let digits: Vec<u16> = digits.iter().map(|digit| u16::from_be_bytes(*digit)).collect();
            if digits.iter().any(|digit| *digit > 9999) || word(3) > 0x3fff {
                return Err(invalid("a numeric has an impossible digit or scale"));
            }
            if word(2) == NEGATIVE {
                text.push(b'-');
            }
            places(&digits, i16::from_be_bytes(head[1]).into(), word(3).into(), text);
        }
        _ => return Err(invalid("a numeric has an impossible sign")),
    }
    Ok(())
}

/// `weight` is the power of 10000 of the first digit, `scale` how many decimals are written.
fn places(digits: &[u16], weight: i32, scale: usize, text: &mut Vec<u8>) {
    let group = |place: i32| {
        let at = usize::try_from(weight - place).ok();
        at.and_then(|at| digits.get(at)).copied().unwrap_or_default()
    };
    let start = text.len();
    for place in (0..=weight).rev() {
        padded::<4>(group(place).into(), text);
    }
    let zeros = text[start..].iter().take_while(|digit| **digit == b'0').count();
    text.drain(start..start + zeros);
    if text.len() == start {
        text.push(b'0');
    }
    if scale == 0 {
        return;
    }
    text.push(b'.');
    let end = text.len() + scale;
    let mut place = -1;
    while text.len() < end {
        padded::<4>(group(place).into(), text);
        place -= 1;
    }
    text.truncate(end);
}
