"""Tests of binary values: bytes and text were put side by side by hand, from PostgreSQL's documents."""

import math
import random
import struct
import sys
import unittest

sys.dont_write_bytecode = True
import binary_values
from binary_values import NoValue

I32_MIN, I32_MAX, I64_MIN, I64_MAX = -1 << 31, (1 << 31) - 1, -1 << 63, (1 << 63) - 1
HOUR = 3_600_000_000


def text(oid, value, *rest):
    """The text of a value; of numbers where a form of struct comes first."""
    return binary_values.converter(oid)(struct.pack(value, *rest) if isinstance(value, str) else value).decode()


def array(element_oid, elements, sizes=None, bounds=None, flags=0):
    sizes = [len(elements)] if sizes is None else sizes
    data = struct.pack(">iiI", len(sizes), flags, element_oid)
    for size, bound in zip(sizes, bounds or [1] * len(sizes)):
        data += struct.pack(">ii", size, bound)
    for element in elements:
        data += struct.pack(">i", -1) if element is None else struct.pack(">i", len(element)) + element
    return data


class Values(unittest.TestCase):
    def check(self, oid, *cases):
        for *value, wanted in cases:
            with self.subTest(oid=oid, value=value):
                self.assertEqual(text(oid, *value), wanted)

    def test_booleans_integers_and_texts(self):
        self.check(16, (b"\1", "t"), (b"\0", "f"))
        self.check(21, (">h", -32768, "-32768"), (">h", 7, "7"))
        self.check(23, (">i", I32_MIN, "-2147483648"), (">i", 0, "0"))
        self.check(20, (">q", I64_MAX, "9223372036854775807"))
        self.check(26, (">I", (1 << 32) - 1, "4294967295"))
        for oid in (19, 25, 114, 1042, 1043):
            self.check(oid, ("héron \t\n".encode(), "héron \t\n"), (b"", ""))
        self.check(3802, (b"\1{}", "{}"))
        self.check(17, (b"", "\\x"), (b"\0\xffA", "\\x00ff41"))
        self.check(2950, (bytes(range(16)), "00010203-0405-0607-0809-0a0b0c0d0e0f"))

    def test_floats_of_eight_bytes(self):
        for number, wanted in (
                (0.1, "0.1"), (-0.0, "-0"), (0.0, "0"), (1.0, "1"), (100.0, "100"), (1e14, "100000000000000"),
                (999999999999999.0, "999999999999999"), (1e15, "1e+15"), (0.0001, "0.0001"), (0.00001, "1e-05"),
                (123456.789, "123456.789"), (1.5e-7, "1.5e-07"), (1e100, "1e+100"), (5e-324, "5e-324"),
                (-1.7976931348623157e308, "-1.7976931348623157e+308"), (2.0 ** -44, "5.684341886080802e-14"),
                (0.1 + 0.2, "0.30000000000000004"), (2.0 ** 53, "9.007199254740992e+15"),
                # Halves to a digit go to an even one.
                (2.0 ** 50 + 0.25, "1.1258999068426242e+15"), (2.0 ** 50 + 0.75, "1.1258999068426248e+15"),
                # The middle of two neighbours is not written, though it would be read as one of them.
                (1e23, "9.999999999999999e+22"), (5e22, "4.9999999999999996e+22"),
                (math.inf, "Infinity"), (-math.inf, "-Infinity"), (math.nan, "NaN")):
            self.check(701, (">d", number, wanted))

    def test_floats_of_four_bytes(self):
        for number, wanted in (
                (0.1, "0.1"), (-0.0, "-0"), (1 / 3, "0.33333334"), (100000, "100000"), (999999, "999999"),
                (123456.79, "123456.79"), (1e6, "1e+06"), (16777216, "1.6777216e+07"), (0.0001, "0.0001"),
                (0.00001, "1e-05"), (3.4028234663852886e38, "3.4028235e+38"), (2.0 ** -149, "1e-45"),
                (2.0 ** -20, "9.536743e-07"), (2.0 ** -44, "5.684342e-14"),
                (math.inf, "Infinity"), (-math.inf, "-Infinity"), (math.nan, "NaN")):
            self.check(700, (">f", number, wanted))

    def test_floats_are_read_back_the_same(self):
        at_random = random.Random(1)
        for _ in range(3000):
            for oid, form, size in ((700, ">f", 4), (701, ">d", 8)):
                value = at_random.randbytes(size)
                (number,) = struct.unpack(form, value)
                if not math.isnan(number):
                    self.assertEqual(struct.pack(form, float(text(oid, value))), value)

    def test_numerics(self):
        def numeric(wanted, weight, scale, *digits, sign=0):
            self.check(1700, (f">HhHH{len(digits)}H", len(digits), weight, sign, scale, *digits, wanted))
        numeric("0", 0, 0)
        numeric("0.00", 0, 2)
        numeric("12", 0, 0, 12)
        numeric("-12.50", 0, 2, 12, 5000, sign=0x4000)
        numeric("10000", 1, 0, 1)
        numeric("10020.3", 1, 1, 1, 20, 3000)
        numeric("0.0001", -1, 4, 1)
        numeric("0.00001", -2, 5, 1000)
        numeric("0.000000000001", -3, 12, 1)
        numeric("1.0000", 0, 4, 1)
        numeric("9999.999", 0, 3, 9999, 9990)
        numeric("1" + "0" * 16, 4, 0, 1)
        numeric("NaN", 0, 0, sign=0xC000)
        numeric("Infinity", 0, 32, sign=0xD000)
        numeric("-Infinity", 0, 32, sign=0xF000)

    def test_dates(self):
        self.check(1082, *((">i", days, wanted) for days, wanted in (
            (0, "2000-01-01"), (-1, "1999-12-31"), (59, "2000-02-29"), (366, "2001-01-01"), (8825, "2024-02-29"),
            (-730119, "0001-01-01"), (-730120, "0001-12-31 BC"), (-2451545, "4714-11-24 BC"),
            (2921940, "10000-01-01"), (2145031948, "5874897-12-31"), (I32_MAX, "infinity"), (I32_MIN, "-infinity"))))

    def test_times(self):
        self.check(1083, *((">q", micros, wanted) for micros, wanted in (
            (0, "00:00:00"), (24 * HOUR, "24:00:00"), (24 * HOUR - 1, "23:59:59.999999"), (1000, "00:00:00.001"),
            (4 * HOUR + 5 * 60_000_000 + 6_700_000, "04:05:06.7"))))
        self.check(1266, *((">qi", 4 * HOUR, west, "04:00:00" + zone) for west, zone in (
            (0, "+00"), (-7200, "+02"), (-19800, "+05:30"), (11045, "-03:04:05"), (-5, "+00:00:05"),
            (57599, "-15:59:59"))))

    def test_timestamps(self):
        for oid, zone in ((1114, ""), (1184, "+00")):
            self.check(oid, *((">q", micros, wanted.format(zone)) for micros, wanted in (
                (0, "2000-01-01 00:00:00{}"), (1_500_000, "2000-01-01 00:00:01.5{}"),
                (-1, "1999-12-31 23:59:59.999999{}"),
                (-730120 * 24 * HOUR + 12 * HOUR, "0001-12-31 12:00:00{} BC"),
                (-2451545 * 24 * HOUR, "4714-11-24 00:00:00{} BC"),
                (9223371331199999999, "294276-12-31 23:59:59.999999{}"),
                (I64_MAX, "infinity"), (I64_MIN, "-infinity"))))

    def test_intervals(self):
        self.check(1186, *((">qii", micros, days, months, wanted) for micros, days, months, wanted in (
            (0, 0, 0, "00:00:00"), (0, 0, 1, "1 mon"), (0, 0, -14, "-1 years -2 mons"), (0, 1, 24, "2 years 1 day"),
            (4 * HOUR + 306_700_000, -3, 14, "1 year 2 mons -3 days +04:05:06.7"), (0, 5, -1, "-1 mons +5 days"),
            (-HOUR, 0, 0, "-01:00:00"), (-1, 0, 0, "-00:00:00.000001"), (HOUR, -1, 0, "-1 days +01:00:00"),
            (-HOUR, 1, 0, "1 day -01:00:00"), (100 * HOUR, 0, 0, "100:00:00"), (HOUR, 0, -12, "-1 years +01:00:00"),
            (HOUR, 2, -1, "-1 mons +2 days 01:00:00"), (1_000_000, 0, 13, "1 year 1 mon 00:00:01"),
            (I64_MAX, 0, 0, "2562047788:00:54.775807"), (I64_MIN, 0, 0, "-2562047788:00:54.775808"),
            (I64_MAX, I32_MAX, I32_MAX, "infinity"), (I64_MIN, I32_MIN, I32_MIN, "-infinity"))))

    def test_addresses(self):
        self.check(829, (b"\x08\0\x2b\1\2\xff", "08:00:2b:01:02:ff"))
        self.check(774, (b"\x08\0\x2b\1\2\3\4\xff", "08:00:2b:01:02:03:04:ff"))
        self.check(869, (b"\2\x20\0\4\x0a\0\0\1", "10.0.0.1"), (b"\2\x18\0\4\x0a\0\0\1", "10.0.0.1/24"))
        self.check(650, (b"\2\x20\1\4\x0a\0\0\1", "10.0.0.1/32"), (b"\2\0\1\4\0\0\0\0", "0.0.0.0/0"))
        self.check(650, (b"\3\x80\1\x10" + bytes(15) + b"\1", "::1/128"))
        for words, wanted in (
                ([0] * 8, "::"), ([0] * 7 + [1], "::1"), ([0] * 7 + [2], "::2"), ([1] + [0] * 7, "1::"),
                ([0] * 6 + [0x0102, 0x0304], "::1.2.3.4"), ([0] * 6 + [1, 0], "::0.1.0.0"),
                ([0] * 5 + [0xFFFF, 0x0102, 0x0304], "::ffff:1.2.3.4"), ([0] * 5 + [0xFFFE, 1, 2], "::fffe:1:2"),
                ([0x2001, 0xDB8, 0, 1, 0, 0, 0, 1], "2001:db8:0:1::1"), ([1, 0, 0, 2, 0, 0, 3, 4], "1::2:0:0:3:4"),
                ([1, 0, 2, 0, 3, 0, 4, 0], "1:0:2:0:3:0:4:0"), ([1, 2, 3, 4, 5, 6, 7, 8], "1:2:3:4:5:6:7:8"),
                ([0, 0, 1, 0, 0, 0, 1, 0], "0:0:1::1:0"), ([0xFE80, 1, 2, 3, 4, 5, 0, 0], "fe80:1:2:3:4:5::")):
            address = struct.pack(">8H", *words)
            self.check(869, (b"\3\x80\0\x10" + address, wanted), (b"\3\x40\0\x10" + address, wanted + "/64"))

    def test_bits(self):
        for oid in (1560, 1562):
            self.check(oid, (b"\0\0\0\0", ""), (b"\0\0\0\3\xa0", "101"), (b"\0\0\0\x0a\1\x40", "0000000101"),
                       (b"\0\0\0\x08\0", "00000000"))

    def test_arrays(self):
        self.check(1009, (array(25, [], []), "{}"), (array(25, [b"a", b"b"]), "{a,b}"))
        self.check(1009, (array(25, [None, b"NULL", b"null", b"nulls"], flags=1), '{NULL,"NULL","null",nulls}'))
        self.check(1009, (array(25, [b"", b" ", b"a b", b"a,b", b"{", b"}", b'"', b"\\", b"\v", b"'"]),
                          '{""," ","a b","a,b","{","}","\\"","\\\\","\v",\'}'))
        numbers = [struct.pack(">i", n) for n in range(6)]
        self.check(1007, (array(23, numbers, [2, 3]), "{{0,1,2},{3,4,5}}"),
                   (array(23, numbers, [1, 3, 2]), "{{{0,1},{2,3},{4,5}}}"),
                   (array(23, numbers[:2], bounds=[0]), "[0:1]={0,1}"),
                   (array(23, numbers, [2, 3], [1, -5]), "[1:2][-5:-3]={{0,1,2},{3,4,5}}"))
        self.check(1185, (array(1184, [bytes(8)]), '{"2000-01-01 00:00:00+00"}'))
        self.check(1182, (array(1082, [bytes(4)]), "{2000-01-01}"))
        self.check(1000, (array(16, [b"\1", b"\0"]), "{t,f}"))
        self.check(1001, (array(17, [b"\1"]), '{"\\\\x01"}'))
        self.check(3807, (array(3802, [b'\1{"a": 1}']), '{"{\\"a\\": 1}"}'))

    def test_every_type_has_an_array(self):
        self.assertEqual(len(binary_values.CONVERTERS), 56)
        for oid, (array_oid, _) in binary_values.SCALARS.items():
            self.check(array_oid, (array(oid, [None, None]), "{NULL,NULL}"))


class NotValues(unittest.TestCase):
    def test_types_that_are_not_known(self):
        for oid in (0, 18, 600, 2249, 16384):
            self.assertRaises(NoValue, binary_values.converter, oid)

    def test_values_of_another_length(self):
        lengths = {16: 1, 20: 8, 21: 2, 23: 4, 26: 4, 700: 4, 701: 8, 774: 8, 829: 6, 1082: 4, 1083: 8, 1114: 8,
                   1184: 8, 1186: 16, 1266: 12, 2950: 16}
        for oid, length in lengths.items():
            text(oid, bytes(length))
            for wrong in {0, length - 1, length + 1, 4, 8} - {length}:
                self.assertRaises(NoValue, text, oid, bytes(wrong))

    def test_values_that_postgresql_does_not_have(self):
        for oid, value in (
                (3802, b""), (3802, b"\2{}"),
                (1082, struct.pack(">i", -2451546)), (1082, struct.pack(">i", I32_MAX - 1)),
                (1083, struct.pack(">q", -1)), (1083, struct.pack(">q", 24 * HOUR + 1)),
                (1114, struct.pack(">q", I64_MAX - 1)), (1184, struct.pack(">q", I64_MIN + 1)),
                (1266, struct.pack(">qi", 0, 57600)), (1266, struct.pack(">qi", 0, I32_MIN)),
                (1700, b""), (1700, struct.pack(">HhHH", 1, 0, 0, 0)), (1700, struct.pack(">HhHHH", 0, 0, 0, 0, 1)),
                (1700, struct.pack(">HhHHH", 1, 0, 0, 0, 10000)), (1700, struct.pack(">HhHH", 0, 0, 1, 0)),
                (1700, struct.pack(">HhHH", 0, 0, 0, 16384)),
                (869, b""), (869, b"\2\x21\0\4abcd"), (869, b"\4\x20\0\4abcd"), (869, b"\3\x20\0\4abcd"),
                (869, b"\2\x20\0\4abc"), (869, b"\2\x20\0\4abcde"), (650, b"\3\x81\1\x10" + bytes(16)),
                (1560, b""), (1560, b"\xff\xff\xff\xff"), (1560, b"\0\0\0\1"), (1562, b"\0\0\0\1\0\0"),
                (1562, b"\x7f\xff\xff\xff\0")):
            with self.subTest(oid=oid, value=value):
                self.assertRaises(NoValue, text, oid, value)

    def test_arrays_that_are_none(self):
        good = array(23, [bytes(4), None], flags=1)
        self.assertEqual(text(1007, good), "{0,NULL}")
        for wrong in (b"", good[:-1], good + b"\0", array(25, [bytes(4)]), array(23, [bytes(4)], flags=2),
                      array(23, [bytes(3)]), array(23, [bytes(4)] * 2, [1]), array(23, [bytes(4)], [2]),
                      array(23, [], [-1]), array(23, [bytes(4)], [-1, -1]), array(23, [bytes(4)], [1] * 7),
                      array(23, [], [I32_MAX] * 6), array(23, [bytes(4)], [I32_MAX]),
                      struct.pack(">iiI", -1, 0, 23), struct.pack(">iiIiii", 1, 0, 23, 1, 1, -2),
                      struct.pack(">iiIiii", 1, 0, 23, 1, 1, I32_MAX)):
            with self.subTest(value=wrong):
                self.assertRaises(NoValue, text, 1007, wrong)

    def test_bytes_from_anywhere_are_a_value_or_none(self):
        at_random = random.Random(1)
        for oid, convert in ((oid, binary_values.converter(oid)) for oid in binary_values.CONVERTERS):
            element = {array_oid: element for element, (array_oid, _) in binary_values.SCALARS.items()}.get(oid)
            for _ in range(300):
                value = at_random.randbytes(at_random.randrange(24))
                if element and at_random.random() < 0.7:
                    value = array(element, [value, None], flags=1)
                try:
                    self.assertIsInstance(convert(value), bytes)
                except NoValue:
                    pass


if __name__ == "__main__":
    unittest.main()
