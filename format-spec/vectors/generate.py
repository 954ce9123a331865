"""Writes all vectors of this folder; run it in the environment of ../reader/requirements.txt.

    python generate.py           writes the files
    python generate.py --check   fails when a file is not what would be written
"""

import json
import pathlib
import sys

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).parent


def files():
    """All files: path below this folder -> bytes."""
    from cases import all_cases
    from repositories import all_repositories
    from seal import seal
    found = {"seal.json": as_json(seal())}
    found |= {f"structures/{path}": as_json(case) for path, case in all_cases().items()}
    found |= {f"repositories/{path}": content for path, content in all_repositories().items()}
    return found


def as_json(value):
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def main():
    wanted = files()
    check = sys.argv[1:] == ["--check"]
    wrong = []
    for name, content in wanted.items():
        path = HERE / name
        if path.exists() and path.read_bytes() == content:
            continue
        wrong.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    made = {HERE / name for name in wanted}
    for path in sorted(HERE.rglob("*")):
        if path.is_file() and path not in made and path.suffix not in (".py", ".md"):
            wrong.append(str(path.relative_to(HERE)))
            if not check:
                path.unlink()
    print(f"{len(wanted)} vectors, {len(wrong)} {'differ' if check else 'changed'}")
    if check and wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
