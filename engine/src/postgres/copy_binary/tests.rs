//! Values by their bytes, as the server's send functions write them, beside what its output functions
//! write; `tests/end_to_end` has the same on real servers.

use super::*;
use proptest::prelude::*;

fn text(type_oid: u32, value: &[u8]) -> Result<String> {
    let mut row = 1_i16.to_be_bytes().to_vec();
    row.extend(i32::try_from(value.len()).unwrap().to_be_bytes());
    row.extend(value);
    let (mut rows, mut text) = (TextRows::new(&[type_oid])?, Vec::new());
    let mut rest = &row[..];
    while let Some(piece) = rows.next(&mut rest)? {
        text.extend_from_slice(piece);
    }
    rows.end()?;
    assert_eq!(text.pop(), Some(b'\n'));
    Ok(String::from_utf8(text).unwrap())
}

fn float8(number: f64) -> String {
    text(701, &number.to_be_bytes()).unwrap()
}

fn float4(number: f32) -> String {
    text(700, &number.to_be_bytes()).unwrap()
}

#[test]
fn every_type_of_the_format_has_a_form() {
    for (element, array) in pgkeep_format::tuple::TYPES {
        assert!(Form::of(element).is_some(), "{element}");
        assert_eq!(Form::of(array), Some(Form::Array(element)));
    }
}

#[test]
fn floats_are_written_as_the_server_writes_them() {
    for (number, expected) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (123_456_789_012_345.0, "123456789012345"),
        (1_000_000_000_000_000.0, "1e+15"),
        (1_234_567_890_123_456.0, "1.234567890123456e+15"),
        (f64::MAX, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
        (f64::NAN, "NaN"),
        // Half way to its neighbour lies 9007199254740993, and it has more digits anyway.
        (9_007_199_254_740_992.0, "9.007199254740992e+15"),
        // 2^78: as few digits as 3.022314549036573e+23 lie within, and none just between.
        (302_231_454_903_657_293_676_544.0, "3.022314549036573e+23"),
    ] {
        assert_eq!(float8(number), expected);
    }
    for (number, expected) in [
        (0.1, "0.1"),
        (123_456.0, "123456"),
        (1_234_567.0, "1.234567e+06"),
        (16_777_216.0, "1.6777216e+07"),
        (f32::MAX, "3.4028235e+38"),
        (1e-45, "1e-45"),
        // 2^25: 33554430 and 33554434 are its neighbours, and digits just between are not taken.
        (33_554_432.0, "3.3554432e+07"),
    ] {
        assert_eq!(float4(number), expected);
    }
}

#[test]
fn numerics_are_written_with_their_scale() {
    let numeric = |weight: i16, sign: u16, scale: u16, digits: &[u16]| {
        let count = u16::try_from(digits.len()).unwrap();
        let words = [count, weight.cast_unsigned(), sign, scale];
        let bytes: Vec<u8> =
            words.iter().chain(digits).flat_map(|word| word.to_be_bytes()).collect();
        text(1700, &bytes)
    };
    assert_eq!(numeric(0, 0, 0, &[]).unwrap(), "0");
    assert_eq!(numeric(0, 0, 2, &[]).unwrap(), "0.00");
    assert_eq!(numeric(0, 0x4000, 2, &[12, 3400]).unwrap(), "-12.34");
    assert_eq!(numeric(1, 0, 0, &[1]).unwrap(), "10000");
    assert_eq!(numeric(-2, 0, 9, &[12, 3000]).unwrap(), "0.000000123");
    assert_eq!(numeric(2, 0, 1, &[1, 0, 20, 5000]).unwrap(), "100000020.5");
    assert_eq!(numeric(0, 0xc000, 0, &[]).unwrap(), "NaN");
    assert_eq!(numeric(0, 0xf000, 0, &[]).unwrap(), "-Infinity");
    assert!(numeric(0, 0, 0, &[10_000]).is_err());
    assert!(numeric(0, 1, 0, &[]).is_err());
}

#[test]
fn times_are_written_in_iso_and_utc() {
    let date = |days: i32| text(1082, &days.to_be_bytes()).unwrap();
    assert_eq!(date(0), "2000-01-01");
    assert_eq!(date(-730_120), "0001-12-31 BC");
    assert_eq!(date(i32::MAX), "infinity");
    assert_eq!(date(2_921_940), "10000-01-01");
    let stamp = |micros: i64| text(1184, &micros.to_be_bytes()).unwrap();
    assert_eq!(stamp(0), "2000-01-01 00:00:00+00");
    assert_eq!(stamp(-1), "1999-12-31 23:59:59.999999+00");
    assert_eq!(stamp(1_500_000), "2000-01-01 00:00:01.5+00");
    assert_eq!(stamp(i64::MIN), "-infinity");
    let interval = |micros: i64, days: i32, months: i32| {
        let bytes = [&micros.to_be_bytes()[..], &days.to_be_bytes(), &months.to_be_bytes()];
        text(1186, &bytes.concat()).unwrap()
    };
    assert_eq!(interval(0, 0, 0), "00:00:00");
    assert_eq!(interval(-1_500_000, 3, -13), "-1 years -1 mons +3 days -00:00:01.5");
    assert_eq!(interval(3_600_000_000, -1, 12), "1 year -1 days +01:00:00");
    let zoned = [&86_400_000_000_i64.to_be_bytes()[..], &(-19_800_i32).to_be_bytes()].concat();
    assert_eq!(text(1266, &zoned).unwrap(), "24:00:00+05:30");
    assert!(text(1083, &(-1_i64).to_be_bytes()).is_err());
}

#[test]
fn addresses_are_written_as_the_server_writes_them() {
    let inet = |bits: u8, address: [u16; 8]| {
        let address = address.iter().flat_map(|word| word.to_be_bytes());
        let bytes: Vec<u8> = [3, bits, 0, 16].into_iter().chain(address).collect();
        text(869, &bytes).unwrap()
    };
    assert_eq!(inet(128, [0; 8]), "::");
    assert_eq!(inet(128, [0, 0, 0, 0, 0, 0, 0, 1]), "::1");
    assert_eq!(inet(64, [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0]), "2001:db8::/64");
    assert_eq!(inet(128, [1, 0, 0, 2, 0, 0, 0, 3]), "1:0:0:2::3");
    assert_eq!(inet(128, [0, 0, 0, 0, 0, 0xffff, 0x0102, 0x0304]), "::ffff:1.2.3.4");
    assert_eq!(inet(128, [0, 0, 0, 0, 0, 0, 0x0102, 0x0304]), "::1.2.3.4");
    assert_eq!(text(869, &[2, 24, 0, 4, 10, 0, 0, 1]).unwrap(), "10.0.0.1/24");
    assert_eq!(text(650, &[2, 32, 1, 4, 10, 0, 0, 1]).unwrap(), "10.0.0.1/32");
    assert!(text(869, &[2, 33, 0, 4, 10, 0, 0, 1]).is_err());
}

#[test]
fn text_is_escaped_as_copy_does_and_arrays_are_quoted_before() {
    assert_eq!(text(25, b"a\tb\\").unwrap(), "a\\tb\\\\");
    assert_eq!(text(3802, b"\x01{\"a\": \"\\n\"}").unwrap(), "{\"a\": \"\\\\n\"}");
    assert_eq!(text(17, &[0, 255]).unwrap(), "\\\\x00ff");
    let array = |elements: &[Option<&[u8]>], bound: i32| {
        let count = i32::try_from(elements.len()).unwrap();
        let mut bytes: Vec<u8> =
            [1, 1, 25, count, bound].iter().flat_map(|it: &i32| it.to_be_bytes()).collect();
        for element in elements {
            let len = element.map_or(-1, |element| i32::try_from(element.len()).unwrap());
            bytes.extend(len.to_be_bytes());
            bytes.extend(element.unwrap_or_default());
        }
        text(1009, &bytes)
    };
    let elements: [Option<&[u8]>; 5] = [Some(b"a"), None, Some(b""), Some(b"null"), Some(b"\"\\")];
    assert_eq!(array(&elements, 1).unwrap(), "{a,NULL,\"\",\"null\",\"\\\\\"\\\\\\\\\"}");
    assert_eq!(array(&[Some(b"x")], 0).unwrap(), "[0:0]={x}");
    assert_eq!(array(&[], 1).unwrap(), "{}");
}

#[test]
fn a_numeric_of_few_bytes_does_not_make_text_without_bound() {
    let zeros: Vec<u8> =
        [1, 32_767, 0, 0, 1].iter().flat_map(|it: &u16| it.to_be_bytes()).collect();
    let mut row = vec![0, 1, 0, 0, 0, 10];
    row.extend(zeros);
    let mut rows = TextRows::new(&[1700]).unwrap();
    let all = row.repeat(1000);
    let mut rest = &all[..];
    let text = rows.next(&mut rest).unwrap().unwrap();
    let went = all.len() - rest.len();
    assert!(went < 20 * row.len() && text.len() < 2 * TEXT_BYTES, "{went} to {}", text.len());
}

proptest! {
    #[test]
    fn floats_read_back_the_same(bits in any::<u64>(), small in any::<u32>()) {
        let (number, single) = (f64::from_bits(bits), f32::from_bits(small));
        if number.is_finite() {
            prop_assert_eq!(float8(number).parse::<f64>().unwrap().to_bits(), bits);
        }
        if single.is_finite() {
            prop_assert_eq!(float4(single).parse::<f32>().unwrap().to_bits(), small);
        }
    }

    #[test]
    fn any_bytes_of_any_type_are_refused_or_one_row(
        types in prop::collection::vec(
            prop::sample::select(vec![16_u32, 17, 20, 25, 700, 701, 869, 1186, 1266, 1562, 1700, 3802, 1009, 1231, 1041]),
            1..4,
        ),
        mut plain in prop::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..90),
    ) {
        if let [_, count, ..] = plain.as_mut_slice() {
            *count = u8::try_from(types.len()).unwrap();
        }
        let (mut rows, mut text) = (TextRows::new(&types).unwrap(), Vec::new());
        let mut rest = &plain[..];
        let mut all = || -> Result<()> {
            while let Some(piece) = rows.next(&mut rest)? {
                text.extend_from_slice(piece);
            }
            rows.end()
        };
        if all().is_ok() {
            let ends = text.iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(Some(ends as u64), pgkeep_format::tuple::whole_rows(&plain));
        }
    }
}
