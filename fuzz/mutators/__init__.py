"""Changes to files that keep enough of their format for a reader to continue.

The contents of archives are changed inside.

Every change is a function of the bytes and the generator, so that a seed repeats a run.
"""

from __future__ import annotations

import gzip
import io
import warnings
import zipfile
import zlib
from random import Random

from fuzz.mutators.binary import npy, png, tensors
from fuzz.mutators.plain import MAX_BYTES, Change, Files, noise, spliced
from fuzz.mutators.text import changed_value, json_lines, text, tree

__all__ = ["Change", "Files", "change", "changed_value"]


def change(name: str, content: bytes, rng: Random, other: bytes = b"", raw: Change | None = None) -> bytes:
    """`content` of a file called `name`, changed once or a few times.

    other: of another file of the kind, to take parts from. raw: another way to change plain bytes.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if other and rng.random() < 0.05:
            content = spliced(content, other, rng)
        elif raw is not None and rng.random() < 0.3:
            content = raw(content, rng)
        else:
            content = _by_name(name)(content, rng)
    return content[:MAX_BYTES]


def _by_name(name: str) -> Change:
    lower = name.lower()
    if lower.endswith(".gz"):
        inner = _by_name(lower.removesuffix(".gz"))
        return lambda content, rng: _repacked_gzip(content, rng, inner)
    return next((each for end, each in _BY_ENDING.items() if lower.endswith(end)), noise)


def _repacked_gzip(content: bytes, rng: Random, inner: Change) -> bytes:
    if rng.random() < 0.3:
        return noise(content, rng)
    try:
        plain = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return noise(content, rng)
    return gzip.compress(inner(plain[: 4 * MAX_BYTES], rng), 1, mtime=0)


def archive(content: bytes, rng: Random) -> bytes:
    """A member of a zip file, its name, or the bytes."""
    kind = rng.randrange(10)
    if kind < 2:
        return noise(content, rng)
    if kind == 2:  # the directory stands at the end
        tail = min(len(content), 300)
        return content[:-tail] + noise(content[-tail:], rng) if tail else content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            members = [(each.filename, file.read(each)) for each in file.infolist()]
    except Exception:  # noqa: BLE001  damaged bytes, for which zipfile has many names
        return noise(content, rng)
    if not members:
        return noise(content, rng)
    at = rng.randrange(len(members))
    name, held = members[at]
    if kind == 3:
        del members[at]
    elif kind == 4:
        members.append((rng.choice((name, name.upper(), "X.npy", "y.npy", "config.json", "../x")), held))
    elif kind == 5:
        members[at] = (rng.choice(members)[0], held)
    else:
        members[at] = (name, _by_name(name)(held, rng))
    packed = io.BytesIO()
    how = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with warnings.catch_warnings(), zipfile.ZipFile(packed, "w", how) as file:
        warnings.simplefilter("ignore")  # of names that stand there twice
        for name, held in members:
            file.writestr(zipfile.ZipInfo(name), held[: 4 * MAX_BYTES], how)
    return packed.getvalue()


_BY_ENDING: dict[str, Change] = {
    **dict.fromkeys((".csv", ".tsv", ".ts", ".toml", ".txt", "checkpoint"), text),
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".json": tree,
    ".npz": archive,
    ".keras": archive,
    ".npy": npy,
    ".safetensors": tensors,
    ".session": tensors,
    ".png": png,
}
