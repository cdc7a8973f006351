"""A packed data set of a few hundred bytes, written file by file, so that tests can change each of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from scanline.data.memory import MemorySource
from scanline.data.packed.location import Location
from scanline.data.packed.manifest import MANIFEST
from scanline.data.packed.row_groups import encode_index, encode_row_group
from scanline.storage.json_files import sealed_json

FEATURES, CLASSES = 2, ("left", "right")
SIZES = {"train": 24, "validation": 8, "test": 8}
ROWS = 8  # sequences of a row group

Change = Callable[[dict[str, Any]], None]


def sequences(split: str) -> MemorySource:
    """Return the sequences of a split: 1 to 5 steps, and a class that the mean of the values shows."""
    n, first = SIZES[split], sum(SIZES[name] for name in list(SIZES)[: list(SIZES).index(split)])
    rng = np.random.default_rng(first)
    lengths = np.arange(n, dtype=np.int64) % 5 + 1
    targets = np.arange(n, dtype=np.int64) // 2 % 2
    steps = rng.normal(size=(int(lengths.sum()), FEATURES)).astype(np.float32)
    steps += np.repeat(2 * targets - 1, lengths)[:, None]
    ids = np.array([f"s{first + index}" for index in range(n)], object)
    return MemorySource(steps, lengths, targets, CLASSES, split, ids)


def files() -> dict[str, bytes]:
    """Return all files of the data set by name, the manifest last."""
    content: dict[str, bytes] = {}
    splits = {name: _split(name, content) for name in SIZES}
    tree = {
        "schema": 1,
        "kind": "scanline packed data",
        "scanline": "0.1.0",
        "name": "small",
        "features": FEATURES,
        "dtype": "float32",
        "feature_names": ["x", "y"],
        "full_scale": 1.0,
        "classes": list(CLASSES),
        "numbers": False,
        "picture": None,
        "settings": None,
        "notes": [],
        "shuffled": True,
        "splits": splits,
    }
    return {**content, MANIFEST: sealed_json(tree).encode()}


def lying(content: Mapping[str, bytes], change: Change) -> dict[str, bytes]:
    """Return the files with a manifest that says something else, sealed again."""
    tree = json.loads(content[MANIFEST])
    del tree["sha256"]
    change(tree)
    return {**content, MANIFEST: sealed_json(tree).encode()}


def replaced(content: Mapping[str, bytes], file: str, by: bytes) -> dict[str, bytes]:
    """Return the files with another content of one of them, which the manifest describes."""

    def describe(tree: dict[str, Any]) -> None:
        for split in tree["splits"].values():
            for entry in (split["index"], *split["row_groups"]):
                if entry["file"] == file:
                    entry |= _digest(file, by)

    return {**lying(content, describe), file: by}


def write(address: str, content: Mapping[str, bytes]) -> str:
    """Write the files to a folder, and return its address."""
    location = Location.parse(address)
    for name, each in content.items():
        location.write(name, each)
    return address


def _split(name: str, content: dict[str, bytes]) -> dict[str, Any]:
    source = sequences(name)
    groups = []
    for number, first in enumerate(range(0, len(source), ROWS)):
        part = source.take(slice(first, first + ROWS))
        file = f"{name}-{number:06d}.parquet"
        content[file] = encode_row_group(part)
        groups.append({**_digest(file, content[file]), "n": len(part), "steps": int(part.lengths.sum())})
    index = f"{name}-index.parquet"
    content[index] = encode_index(source.lengths, source.targets)
    steps = source.concatenated.astype(np.float64)
    lengths, counts = np.unique(source.lengths, return_counts=True)
    return {
        "n": len(source),
        "steps": len(steps),
        "origin": "made for a test",
        "class_counts": np.bincount(source.targets, minlength=len(CLASSES)).tolist(),
        "targets": None,
        "group_count": None,
        "groups": [],
        "lengths": {
            "min": int(lengths[0]),
            "median": float(np.median(source.lengths)),
            "max": int(lengths[-1]),
            "histogram": [[int(each), int(each), int(n)] for each, n in zip(lengths, counts, strict=True)],
        },
        "missing": 0,
        "first_missing": "",
        "statistics": {
            "count": [len(steps)] * FEATURES,
            "mean": steps.mean(0).tolist(),
            "m2": ((steps - steps.mean(0)) ** 2).sum(0).tolist(),
        },
        "index": _digest(index, content[index]),
        "row_groups": groups,
    }


def _digest(file: str, content: bytes) -> dict[str, Any]:
    return {"file": file, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
