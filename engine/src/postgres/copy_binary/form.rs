//! Binary forms of values, by the OID of their type (`pg_type.dat`, the same in all versions).

use super::{array, hex, invalid, network, number, time};
use pgkeep_format::FormatError;
use pgkeep_format::tuple::TYPES;

/// What the bytes of a value are. Types whose send functions write the same share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Bool,
    Bytea,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    /// The text itself: also JSON and names.
    Text,
    /// A version byte and the text.
    Jsonb,
    Uuid,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    MacAddr,
    MacAddr8,
    /// An address that may be one of a network.
    Inet,
    /// A network.
    Cidr,
    Bits,
    /// Of elements with this OID.
    Array(u32),
}

impl Form {
    pub(super) fn of(type_oid: u32) -> Option<Self> {
        if let Some((element, _)) = TYPES.iter().find(|(_, array)| *array == type_oid) {
            return Some(Self::Array(*element));
        }
        Some(match type_oid {
            16 => Self::Bool,
            17 => Self::Bytea,
            // name, text, json, bpchar, varchar
            19 | 25 | 114 | 1042 | 1043 => Self::Text,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            26 => Self::Oid,
            650 => Self::Cidr,
            700 => Self::Float4,
            701 => Self::Float8,
            774 => Self::MacAddr8,
            829 => Self::MacAddr,
            869 => Self::Inet,
            1082 => Self::Date,
            1083 => Self::Time,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            1186 => Self::Interval,
            1266 => Self::TimeTz,
            // bit, varbit
            1560 | 1562 => Self::Bits,
            1700 => Self::Numeric,
            2950 => Self::Uuid,
            3802 => Self::Jsonb,
            _ => return None,
        })
    }

    /// Bytes of each value, where all have as many.
    pub(super) fn len(self) -> Option<usize> {
        Some(match self {
            Self::Bool => 1,
            Self::Int2 => 2,
            Self::Int4 | Self::Oid | Self::Float4 | Self::Date => 4,
            Self::MacAddr => 6,
            Self::Int8
            | Self::Float8
            | Self::Time
            | Self::Timestamp
            | Self::TimestampTz
            | Self::MacAddr8 => 8,
            Self::TimeTz => 12,
            Self::Uuid | Self::Interval => 16,
            _ => return None,
        })
    }

    /// Appends a whole value as the type's output function writes it.
    pub(super) fn text(self, value: &[u8], text: &mut Vec<u8>) -> Result<(), FormatError> {
        match self {
            Self::Bool => text.push(if value == [0] { b'f' } else { b't' }),
            Self::Bytea => {
                text.extend_from_slice(b"\\x");
                hex(value, text);
            }
            Self::Int2 => number::integer(i16::from_be_bytes(fixed(value)?).into(), text),
            Self::Int4 => number::integer(i32::from_be_bytes(fixed(value)?).into(), text),
            Self::Int8 => number::integer(i64::from_be_bytes(fixed(value)?), text),
            Self::Oid => number::integer(u32::from_be_bytes(fixed(value)?).into(), text),
            Self::Float4 => number::float4(f32::from_be_bytes(fixed(value)?), text),
            Self::Float8 => number::float8(f64::from_be_bytes(fixed(value)?), text),
            Self::Numeric => number::numeric(value, text)?,
            Self::Text => text.extend_from_slice(value),
            Self::Jsonb => match value {
                [1, json @ ..] => text.extend_from_slice(json),
                _ => return Err(invalid("a jsonb has another version than 1")),
            },
            Self::Uuid => uuid(fixed(value)?, text),
            Self::Date => time::date(i32::from_be_bytes(fixed(value)?), text),
            Self::Time => time::time(i64::from_be_bytes(fixed(value)?), text)?,
            Self::TimeTz => {
                let (micros, zone) =
                    value.split_at_checked(8).ok_or_else(|| invalid("a timetz"))?;
                time::time(i64::from_be_bytes(fixed(micros)?), text)?;
                time::zone(i32::from_be_bytes(fixed(zone)?), text)?;
            }
            Self::Timestamp => time::timestamp(i64::from_be_bytes(fixed(value)?), "", text),
            Self::TimestampTz => time::timestamp(i64::from_be_bytes(fixed(value)?), "+00", text),
            Self::Interval => {
                let (micros, days) =
                    value.split_at_checked(8).ok_or_else(|| invalid("an interval"))?;
                let (days, months) =
                    days.split_at_checked(4).ok_or_else(|| invalid("an interval"))?;
                time::interval(
                    i64::from_be_bytes(fixed(micros)?),
                    i32::from_be_bytes(fixed(days)?),
                    i32::from_be_bytes(fixed(months)?),
                    text,
                );
            }
            Self::MacAddr | Self::MacAddr8 => network::mac(value, text),
            Self::Inet => network::inet(value, false, text)?,
            Self::Cidr => network::inet(value, true, text)?,
            Self::Bits => bits(value, text)?,
            Self::Array(element) => array::text(value, element, text)?,
        }
        Ok(())
    }
}

/// A value whose type has a fixed length.
fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], FormatError> {
    value.try_into().map_err(|_| invalid(format!("{} bytes where {N} are due", value.len())))
}

fn uuid(value: [u8; 16], text: &mut Vec<u8>) {
    for (at, group) in [&value[..4], &value[4..6], &value[6..8], &value[8..10], &value[10..]]
        .into_iter()
        .enumerate()
    {
        if at > 0 {
            text.push(b'-');
        }
        hex(group, text);
    }
}

/// A count of bits, and the bits from the highest on.
fn bits(value: &[u8], text: &mut Vec<u8>) -> Result<(), FormatError> {
    let (count, bytes) = value.split_at_checked(4).ok_or_else(|| invalid("a bit string"))?;
    let count = usize::try_from(i32::from_be_bytes(fixed(count)?))
        .ok()
        .filter(|count| count.div_ceil(8) == bytes.len())
        .ok_or_else(|| invalid("a bit string has another length than it says"))?;
    let bits = (0..count).map(|at| bytes[at / 8] >> (7 - at % 8) & 1);
    text.extend(bits.map(|bit| b'0' + bit));
    Ok(())
}
