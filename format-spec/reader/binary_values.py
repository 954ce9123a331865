"""Values of COPY binary as the text that PostgreSQL writes: see "Binary values" in FORMAT.md.

The text is that of a session with DateStyle ISO, IntervalStyle postgres, TimeZone UTC,
bytea_output hex and extra_float_digits 3. What has another length than its type says, or
is beyond what PostgreSQL has, is no value. All integers are big-endian.
"""

import datetime
import math
import re
import struct
import uuid

# Of a bytea as long as PostgreSQL has them, two digits for each byte.
TEXT_MAX = 2 << 30
DIMENSIONS_MAX, SCALE_MAX, ZONE_LIMIT = 6, 16383, 16 * 3600
DAY, SECOND = 86_400_000_000, 1_000_000
# From 4714-11-24 BC on; dates before 5874898-06-03, moments before 294277-01-01.
DATES, MOMENTS = range(-2451545, 2145031949), range(-2451545 * DAY, 106751983 * DAY)
I32_MAX, I64_MAX = (1 << 31) - 1, (1 << 63) - 1


class NoValue(ValueError):
    """Bytes that are no value of their type."""


def need(holds, message):
    if not holds:
        raise NoValue(message)


def numbers(form, value):
    """The numbers of a value that is as long as all of them together."""
    need(len(value) == struct.calcsize(form), f"{len(value)} bytes instead of {struct.calcsize(form)}")
    return struct.unpack(form, value)


def integer(form):
    return lambda value: str(numbers(form, value)[0])


def boolean(value):
    return "t" if numbers(">B", value)[0] else "f"


def itself(value):
    return value


def jsonb(value):
    need(value[:1] == b"\1", "a jsonb has another version than 1")
    return value[1:]


def floating(size, fraction_bits, fixed_below):
    """The shortest number that is nearer to the value than to its neighbours, and of these the nearest."""
    exponent_bits = 8 * size - 1 - fraction_bits
    def text(value):
        need(len(value) == size, f"{len(value)} bytes instead of {size}")
        bits = int.from_bytes(value, "big")
        fraction = bits & (1 << fraction_bits) - 1
        exponent = bits >> fraction_bits & (1 << exponent_bits) - 1
        sign = "-" if bits >> 8 * size - 1 else ""
        if exponent == (1 << exponent_bits) - 1:
            return "NaN" if fraction else sign + "Infinity"
        if not fraction and not exponent:
            return sign + "0"
        mantissa = fraction | (1 << fraction_bits if exponent else 0)
        power = max(exponent, 1) - (1 << exponent_bits - 1) + 1 - fraction_bits
        digits, ten = shortest(mantissa, power, not fraction and exponent > 1)
        return sign + decimal(digits, ten, fixed_below)
    return text


def shortest(mantissa, power, near_below):
    """Digits and a power of ten for mantissa × 2^power. The neighbour below may be half as far as that above."""
    # Four times the number, and how far it is to the middle between it and its neighbours.
    low, number, high = (4 * mantissa + part for part in (-1 if near_below else -2, 0, 2))
    scale = 2 ** (power - 2) if power >= 2 else 5 ** (2 - power)
    low, number, high, ten = low * scale, number * scale, high * scale, min(power - 2, 0)
    # The greatest power of ten of which a multiple lies between them; one of this unit surely does.
    unit = 10 ** max(0, len(str(high - low)) - 2)
    while (high - 1) // (10 * unit) > low // (10 * unit):
        unit *= 10
    count, rest = divmod(number, unit)
    if 2 * rest > unit or (2 * rest == unit and count % 2) or count * unit <= low:
        count += 1
    return str(count), ten + len(str(unit)) - 1


def decimal(digits, ten, fixed_below):
    """Digits times a power of ten; with an exponent where the number is small, or not below a power of ten."""
    exponent = ten + len(digits) - 1
    if not -4 <= exponent < fixed_below:
        point = "." if len(digits) > 1 else ""
        return f"{digits[0]}{point}{digits[1:]}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
    if ten >= 0:
        return digits + "0" * ten
    if exponent < 0:
        return "0." + "0" * (-1 - exponent) + digits
    return digits[:exponent + 1] + "." + digits[exponent + 1:]


def numeric(value):
    count, weight, sign, scale = numbers(">HhHH", value[:8])
    digits = numbers(f">{count}H", value[8:])
    special = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
    if sign in special:
        return special[sign]
    need(sign in (0, 0x4000) and scale <= SCALE_MAX and max(digits, default=0) <= 9999, "a numeric is not valid")
    def run(first, end):
        return "".join(f"{digits[at]:04}" if 0 <= at < count else "0000" for at in range(first, end))
    whole = run(0, weight + 1).lstrip("0") or "0"
    behind = run(weight + 1, weight + 1 + (scale + 3) // 4)[:scale]
    return f"{'-' if sign else ''}{whole}{'.' if scale else ''}{behind}"


def day(days):
    """A day, counted from 2000-01-01, and what is behind it when it is before our era."""
    # The calendar is the same every 400 years.
    ages, days = divmod(days, 146097)
    found = datetime.date(2000, 1, 1) + datetime.timedelta(days)
    year = found.year + 400 * ages
    return f"{year if year > 0 else 1 - year:04}-{found.month:02}-{found.day:02}", "" if year > 0 else " BC"


def clock(micros):
    seconds, fraction = divmod(micros, SECOND)
    fraction = f".{fraction:06}".rstrip("0") if fraction else ""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}"


def date(value):
    (days,) = numbers(">i", value)
    if days in (I32_MAX, -1 - I32_MAX):
        return "infinity" if days > 0 else "-infinity"
    need(days in DATES, "a date is out of range")
    return "".join(day(days))


def moment(zone):
    def timestamp(value):
        (micros,) = numbers(">q", value)
        if micros in (I64_MAX, -1 - I64_MAX):
            return "infinity" if micros > 0 else "-infinity"
        need(micros in MOMENTS, "a timestamp is out of range")
        days, micros = divmod(micros, DAY)
        date_of, era = day(days)
        return f"{date_of} {clock(micros)}{zone}{era}"
    return timestamp


def time(value):
    (micros,) = numbers(">q", value)
    need(0 <= micros <= DAY, "a time is out of range")
    return clock(micros)


def timetz(value):
    (west,) = numbers(">i", value[8:])
    need(abs(west) < ZONE_LIMIT, "a time zone is out of range")
    hours, minutes, seconds = abs(west) // 3600, abs(west) // 60 % 60, abs(west) % 60
    zone = f"{'-' if west > 0 else '+'}{hours:02}"
    if minutes or seconds:
        zone += f":{minutes:02}"
    if seconds:
        zone += f":{seconds:02}"
    return time(value[:8]) + zone


def interval(value):
    micros, days, months = numbers(">qii", value)
    if (micros, days, months) == (I64_MAX, I32_MAX, I32_MAX):
        return "infinity"
    if (micros, days, months) == (-1 - I64_MAX, -1 - I32_MAX, -1 - I32_MAX):
        return "-infinity"
    years = abs(months) // 12 * (-1 if months < 0 else 1)
    parts, after_negative = [], False
    for count, unit in ((years, "year"), (months - 12 * years, "mon"), (days, "day")):
        if count:
            parts.append(f"{'+' if after_negative and count > 0 else ''}{count} {unit}{'' if count == 1 else 's'}")
            after_negative = count < 0
    if micros or not parts:
        parts.append(("-" if micros < 0 else "+" if after_negative else "") + clock(abs(micros)))
    return " ".join(parts)


def uuid_text(value):
    need(len(value) == 16, f"{len(value)} bytes are no uuid")
    return str(uuid.UUID(bytes=value))


def mac(size):
    def address(value):
        need(len(value) == size, f"{len(value)} bytes instead of {size}")
        return value.hex(":")
    return address


def network(is_cidr):
    def address(value):
        family, bits, _, size = numbers("4B", value[:4])
        found = value[4:]
        need((family, size) in ((2, 4), (3, 16)) and len(found) == size and bits <= 8 * size, "an address is not valid")
        text = ipv4(found) if family == 2 else ipv6(found)
        return f"{text}/{bits}" if is_cidr or bits < 8 * size else text
    return address


def ipv4(address):
    return ".".join(map(str, address))


def ipv6(address):
    """The first of the longest runs of zero words is left out, where it has two or more."""
    words = struct.unpack(">8H", address)
    runs = [found.span() for found in re.finditer("0+", "".join("1" if word else "0" for word in words))]
    start, end = max(runs, key=lambda run: run[1] - run[0], default=(0, 0))
    shown = [f"{word:x}" for word in words]
    if end - start < 2:
        return ":".join(shown)
    if start == 0 and (end == 6 or (end == 5 and words[5] == 0xFFFF)):
        shown[6:] = [ipv4(address[12:])]
    return ":".join(shown[:start]) + "::" + ":".join(shown[end:])


def bits_text(value):
    (count,) = numbers(">i", value[:4])
    need(0 <= count <= TEXT_MAX and len(value) - 4 == (count + 7) // 8, "bits are not as many as they say")
    return f"{int.from_bytes(value[4:], 'big'):0{8 * (len(value) - 4)}b}"[:count] if count else ""


def array(element_oid):
    convert = SCALARS[element_oid][1]
    def array_of(value):
        dimensions, flags, element = numbers(">iiI", value[:12])
        need(0 <= dimensions <= DIMENSIONS_MAX and flags in (0, 1), "an array is not valid")
        need(element == element_oid, f"an array has elements of type {element} instead of {element_oid}")
        at = 12 + 8 * dimensions
        shape = numbers(f">{2 * dimensions}i", value[12:at])
        sizes, bounds = shape[::2], shape[1::2]
        count = math.prod(sizes) if sizes else 0
        need(min(sizes, default=0) >= 0 and 4 * count <= len(value) - at, "an array has fewer elements than it says")
        texts, length = [], 0
        for _ in range(count):
            (size,) = numbers(">i", value[at:at + 4])
            at += 4
            need(-1 <= size <= len(value) - at, "an element is longer than its array")
            texts.append(b"NULL" if size == -1 else quoted(as_bytes(convert(value[at:at + size]))))
            at += max(size, 0)
            length += len(texts[-1])
            need(length <= TEXT_MAX, "the text of an array is too long")
        need(at == len(value), "bytes follow an array")
        if count == 0:
            return "{}"
        for size in reversed(sizes):
            texts = [b"{" + b",".join(texts[at:at + size]) + b"}" for at in range(0, len(texts), size)]
        if set(bounds) != {1}:
            shown = (f"[{bound}:{bound + size - 1}]" for size, bound in zip(sizes, bounds))
            return "".join(shown).encode() + b"=" + texts[0]
        return texts[0]
    return array_of


def quoted(element):
    """An element of an array; what could be taken for something else is in quotes."""
    if element and element.upper() != b"NULL" and not re.search(rb'["\\{},\s]', element):
        return element
    return b'"' + re.sub(rb'(["\\])', rb"\\\1", element) + b'"'


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


# OID -> OID of the array, what makes the text of a value.
SCALARS = {
    16: (1000, boolean), 17: (1001, lambda value: "\\x" + value.hex()), 19: (1003, itself),
    20: (1016, integer(">q")), 21: (1005, integer(">h")), 23: (1007, integer(">i")), 25: (1009, itself),
    26: (1028, integer(">I")), 114: (199, itself), 650: (651, network(True)), 700: (1021, floating(4, 23, 6)),
    701: (1022, floating(8, 52, 15)), 774: (775, mac(8)), 829: (1040, mac(6)), 869: (1041, network(False)),
    1042: (1014, itself), 1043: (1015, itself), 1082: (1182, date), 1083: (1183, time),
    1114: (1115, moment("")), 1184: (1185, moment("+00")), 1186: (1187, interval), 1266: (1270, timetz),
    1560: (1561, bits_text), 1562: (1563, bits_text), 1700: (1231, numeric), 2950: (2951, uuid_text),
    3802: (3807, jsonb)}
CONVERTERS = {oid: convert for oid, (_, convert) in SCALARS.items()}
CONVERTERS |= {array_oid: array(oid) for oid, (array_oid, _) in SCALARS.items()}


def converter(oid):
    """What makes the text, as bytes, of a value of a type; it raises NoValue where that is none."""
    need(oid in CONVERTERS, f"type {oid} is not known")
    convert = CONVERTERS[oid]
    return lambda value: as_bytes(convert(value))
