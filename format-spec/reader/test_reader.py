"""Tests of the reader on the vectors: `python -m unittest` in this folder."""

import contextlib
import io
import json
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

import zstandard

sys.dont_write_bytecode = True
import pgkeep_reader as reader

HERE = pathlib.Path(__file__).resolve().parent
VECTORS = HERE.parent / "vectors"
REPOSITORIES = VECTORS / "repositories"
EXPECTED = json.loads((REPOSITORIES / "expected.json").read_text())
NEWEST = EXPECTED["backups"][-1]["id"]


def identity(name="sealed"):
    return reader.Identity((REPOSITORIES / f"{name}.identity").read_text())


def everything(path, who):
    """All that the reader finds: backups, and each table as CSV."""
    repository = reader.Repository(str(path), who)
    backups = sorted(((clear["finished_at"], clear["id"].hex()) for clear in repository.backups()))
    tables = {}
    for _, found in backups:
        backup = reader.Backup(repository, found)
        assert backup.database["name"] == EXPECTED["database"]
        for entry in backup.entries:
            if entry["data"] and entry["data"]["encoding"] in (reader.COPY_TEXT, reader.COPY_BINARY):
                lines = [reader.csv_line(row) for row in backup.rows(entry["data"])]
                tables[found, f"{entry['schema']}.{entry['name']}"] = b"".join(lines).decode()
    return [found for _, found in backups], tables


def quietly(function, *arguments):
    with contextlib.redirect_stderr(io.StringIO()):
        return function(*arguments)


class Good(unittest.TestCase):
    def check(self, path, who):
        backups, tables = quietly(everything, path, who)
        self.assertEqual(backups, [item["id"] for item in EXPECTED["backups"]])
        for backup in backups:
            found = {table: text for (of, table), text in tables.items() if of == backup}
            self.assertEqual(found, EXPECTED["tables"])

    def test_a_sealed_repository(self):
        self.check(REPOSITORIES / "sealed", identity())

    def test_a_repository_that_is_not_encrypted(self):
        self.check(REPOSITORIES / "plain", identity("plain"))

    def test_single_files(self):
        for name in ("sealed", "plain"):
            self.check(REPOSITORIES / f"{name}.pgkeep", identity(name))

    def test_an_identity_without_owner_reads_but_says_so(self):
        text = "\n".join(line for line in (REPOSITORIES / "sealed.identity").read_text().splitlines()
                         if "owner" not in line)
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            who = reader.Identity(text)
        self.assertIn("anybody", said.getvalue())
        self.check(REPOSITORIES / "sealed", who)

    def test_changes_that_do_no_harm(self):
        for path in sorted((REPOSITORIES / "good").iterdir()):
            with self.subTest(path.stem), changed_repository(path) as folder:
                self.check(folder, identity())


@contextlib.contextmanager
def changed_repository(path):
    """The sealed repository with the changes of a vector."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(REPOSITORIES / "sealed", folder, dirs_exist_ok=True)
        for name, content in json.loads(path.read_text())["objects"].items():
            place = pathlib.Path(folder, name)
            if content is None:
                place.unlink()
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(bytes.fromhex(content))
        yield folder


class Bad(unittest.TestCase):
    def test_every_bad_repository_is_refused_and_told_why(self):
        paths = sorted((REPOSITORIES / "bad").iterdir())
        self.assertGreater(len(paths), 40)
        for path in paths:
            with self.subTest(path.stem), changed_repository(path) as folder:
                case = json.loads(path.read_text())
                result = run(folder, REPOSITORIES / "sealed.identity", "csv", NEWEST, case["table"])
                self.assertEqual(result.returncode, 1)
                self.assertNotIn("Traceback", result.stderr)
                self.assertIn(case["says"], result.stderr)

    def test_rows_in_another_encoding_are_named(self):
        table, = EXPECTED["not_read"]
        result = run(REPOSITORIES / "sealed", REPOSITORIES / "sealed.identity", "csv", NEWEST, table)
        self.assertEqual(result.returncode, 1)
        self.assertIn("no other row encoding", result.stderr)

    def test_what_is_not_there_is_named(self):
        for arguments in (("csv", NEWEST, "app.nothing"), ("csv", "ffff", "app.clients"), ("show", "")):
            result = run(REPOSITORIES / "sealed", REPOSITORIES / "sealed.identity", *arguments)
            self.assertEqual(result.returncode, 1, arguments)
            self.assertNotIn("Traceback", result.stderr)
        result = run(HERE / "nowhere", REPOSITORIES / "sealed.identity", "list")
        self.assertIn("there is no repository", result.stderr)

    def test_the_identity_of_another_repository_opens_nothing(self):
        text = (REPOSITORIES / "sealed.identity").read_text().replace(EXPECTED["repository"], "00" * 16)
        with self.assertRaises(reader.Refused):
            quietly(reader.Repository, str(REPOSITORIES / "sealed"), reader.Identity(text))


class Hostile(unittest.TestCase):
    """Whatever is changed, the reader finds the same rows or says what is wrong."""

    def outcome(self, path, who):
        try:
            return quietly(everything, path, who)
        except reader.Refused:
            return None

    def test_every_object_changed_or_cut_anywhere(self):
        wanted = everything(REPOSITORIES / "plain", identity("plain"))
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(REPOSITORIES / "plain", folder, dirs_exist_ok=True)
            for path in sorted(pathlib.Path(folder).rglob("*")):
                if path.is_file():
                    self.change(path, lambda: self.outcome(folder, identity("plain")), wanted)

    def test_a_single_file_changed_or_cut_anywhere(self):
        wanted = everything(REPOSITORIES / "plain.pgkeep", identity("plain"))
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "file")
            shutil.copy(REPOSITORIES / "plain.pgkeep", path)
            self.change(path, lambda: self.outcome(path, identity("plain")), wanted, steps=150)

    def change(self, path, outcome, wanted, steps=40):
        content = path.read_bytes()
        step = max(1, len(content) // steps)
        for at in range(0, len(content), step):
            flipped = bytearray(content)
            flipped[at] ^= 1 << at % 8
            for changed in (bytes(flipped), content[:at]):
                path.write_bytes(changed)
                found = outcome()
                if found is not None:
                    # A backup that cannot be read is passed over; what is read is right.
                    self.assertTrue(set(found[0]) <= set(wanted[0]), f"{path.name} at {at}")
                    for table, text in found[1].items():
                        self.assertEqual(text, wanted[1][table], f"{path.name} at {at}: {table}")
        path.write_bytes(content)


class Structures(unittest.TestCase):
    """The vectors of single structures, as far as this reader decodes them by themselves."""

    def test_structured_values_frames_and_names(self):
        bare = {"config": reader.CONFIG_MAP, "entry": reader.ENTRY}
        laid_out = {"columns": reader.COLUMNS, "tuple-columns": reader.TUPLE_COLUMNS}
        checked = 0
        for path in sorted((VECTORS / "structures").rglob("*.json")):
            case = json.loads(path.read_text())
            structure = case["structure"]
            if structure not in {*bare, *laid_out, "sealed-part", "frame-header", "inner-header", "pack-footer",
                                 "chunk-references"}:
                continue
            # This reader looks at fewer fields than the tables have, and opens no frame here.
            about = path.stem
            skipped = {"entry": ("section", "position", "encoding", "column", "field", "object-above-32",
                                 "second-step"),
                       "config": ("recipients", "encrypted-without", "former-writer-t", "too-many"),
                       "sealed-part": ("timeline", "field", "copied"), "inner-header": ("zstd", "columns")}
            if any(word in about for word in skipped.get(structure, ())):
                continue
            data = bytes.fromhex(case["input"])
            with self.subTest(f"{structure}/{about}"):
                decode = {"frame-header": lambda: reader.FrameHeader("frame", data),
                          "inner-header": lambda: reader.plain_of("frame", data),
                          "pack-footer": lambda: reader.footer_lines("footer", data),
                          "sealed-part": lambda: reader.sealed_part(data),
                          "chunk-references": lambda: reader.references(data)}.get(
                              structure, lambda: reader.structured(structure, data, bare[structure]))
                if structure in laid_out:
                    decode = lambda: plain_of(laid_out[structure], data, case["with"]["plain_len"])
                if "error" in case:
                    self.assertRaises(reader.Refused, decode)
                elif structure in laid_out:
                    self.assertEqual(decode().hex(), case["ok"]["rows"])
                else:
                    decode()
            checked += 1
        self.assertGreater(checked, 160)


def plain_of(codec, laid, plain_len):
    """The plain bytes of a chunk whose columns are these."""
    inner = struct.pack("<BBxxI", codec, 0, plain_len) + zstandard.ZstdCompressor().compress(laid)
    return reader.plain_of("chunk", inner)[1]


class Tuples(unittest.TestCase):
    ROWS = [[b"one", None], [b"", b"x" * 300], [None, b"\0"]]
    DATA = (b"\0\2\0\0\0\3one\xff\xff\xff\xff" + b"\0\2\0\0\0\0\0\0\1\x2c" + b"x" * 300
            + b"\0\2\xff\xff\xff\xff\0\0\0\1\0")

    def test_rows_are_the_same_whatever_the_pieces(self):
        for size in (1, 2, 3, 5, 7, 100, 1000):
            pieces = [self.DATA[at:at + size] for at in range(0, len(self.DATA), size)]
            self.assertEqual(list(reader.tuples(pieces, 2)), self.ROWS)
        self.assertEqual(list(reader.tuples([b"\0", b"\0\0\0"], 0)), [[], []])
        self.assertEqual(list(reader.tuples([], 3)), [])

    def test_what_is_no_row_is_refused(self):
        for end in range(1, len(self.DATA)):
            if end not in (13, 323):
                self.assertRaises(reader.Refused, list, reader.tuples([self.DATA[:end]], 2))
        for data in (b"\0\1", b"\0\3", b"\xff\xff", b"\0\2\xff\xff\xff\xfe", b"\0\2\x7f\xff\xff\xff",
                     b"\0\2\x80\0\0\0"):
            self.assertRaises(reader.Refused, list, reader.tuples([data + self.DATA], 2))

    def test_a_frame_that_is_longer_than_its_rows_can_be_is_refused(self):
        room = 8 + 4 * reader.COLUMNS_MAX
        for codec in (reader.COLUMNS, reader.TUPLE_COLUMNS):
            with self.assertRaisesRegex(reader.Refused, "zstd"):
                plain_of(codec, bytes(room + 11), 10)

    def test_columns_of_bytes_from_anywhere_are_rows_or_refused(self):
        at_random = random.Random(1)
        for _ in range(5000):
            count, rows, size = at_random.randrange(1, 4), at_random.randrange(6), at_random.randrange(120)
            laid = struct.pack("<HHI", count, 0, rows) + bytes(
                at_random.randrange(5) if at_random.random() < 0.8 else at_random.randrange(256) for _ in range(size))
            with contextlib.suppress(reader.Refused):
                self.assertEqual(len(list(reader.tuples([reader.tuples_of("x", laid, 1000)], count))), rows)


class Vectors(unittest.TestCase):
    def test_the_vectors_are_what_their_generator_writes(self):
        command = [sys.executable, "-B", str(VECTORS / "generate.py"), "--check"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)


def run(*arguments):
    command = [sys.executable, str(HERE / "pgkeep_reader.py"), str(arguments[0]), "--identity", *map(str, arguments[1:])]
    return subprocess.run(command, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    unittest.main()
