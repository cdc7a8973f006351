"""Targets that read data: IDX, .ts, tables and arrays."""

from __future__ import annotations

import functools
import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.mutators import Files
from fuzz.targets.base import _saved, refusal_allowed

# What a user may have said of a source; the first is nothing.
_SAID: tuple[dict[str, Any], ...] = (
    {},
    {"picture": "4x3"},
    {"picture": "none"},
    {"picture": "2x2", "colour": True},
    {"shape": "long"},
    {"shape": "wide"},
    {"id_column": "id", "label_column": "label", "time_column": "time"},
    {"feature_columns": ("y", "x"), "group_column": "group", "split_column": "split"},
    {"length_column": "time"},
)


def _read_data(path: Path) -> None:
    """As `train`, `evaluate` and `predict` read it."""
    from scanline.data import catalogue as catalog
    from scanline.data.partition import partition
    from scanline.data.reading import TO_EVALUATE, TO_PREDICT, read_sources
    from scanline.data.transforms.scaler import Scaler
    from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT
    from scanline.training.preparation import prepare

    plain, careful, pictures = _plans()
    for said, plans in (({}, (plain, pictures)), (_SAID[_digest(path) % len(_SAID)], (careful,))):
        settings = DEFAULT_DATA.model_copy(update=said)
        with refusal_allowed():
            samples = catalog.read(str(path), settings)
            for plan in plans:
                with refusal_allowed():
                    ready = prepare(plan, partition(samples, DEFAULT_SPLIT, plan.input.missing))
                    Scaler.fit(ready.data.train, plan.input.scaling, ready.data.full_scale)
        with refusal_allowed():
            catalog.read(str(path), settings, None, TO_EVALUATE).evaluation_source("zero").fingerprint()
        with refusal_allowed():
            read_sources(path, settings, TO_PREDICT)


@functools.cache
def _plans() -> list[Any]:
    from scanline.recipe import load

    chosen = (("sequences", "error"), ("sequences", "mean"), ("rows", "forward-fill"))
    return [load(name, {"input.missing": how}) for name, how in chosen]


def _digest(path: Path) -> int:
    """Of the bytes at `path`, or of its name."""
    return zlib.crc32(path.read_bytes() if path.is_file() else path.name.encode())


def _images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 4, 3), dtype=np.uint8)


def _idx() -> list[Files]:
    from scanline.data.published import FILES

    def written(array: np.ndarray, kind: int = 8) -> bytes:
        return bytes([0, 0, kind, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()

    arrays = [_images(20), np.arange(20, dtype=np.uint8) % 3, _images(4, 1), np.arange(4, dtype=np.uint8) % 3]
    plain = dict(zip(FILES, map(written, arrays), strict=True))
    packed = {f"{name}.gz": gzip.compress(held, mtime=0) for name, held in plain.items()}
    others = written(np.arange(6, dtype=">f4").reshape(2, 3), 0x0D)
    return [plain, packed, plain | {FILES[0]: others}]


def _read_idx(folder: Path) -> None:
    from scanline.formats.idx import read_idx

    for path in folder.iterdir():
        with refusal_allowed():
            read_idx(path)
    _read_data(folder)


def _ts() -> list[Files]:
    head = "@problemName it\n@timeStamps false\n@univariate {}\n@missing {}\n@classLabel true a b\n@data\n"
    one = head.format("true", "false") + "".join(f"1.5,2,{n},-3e-2:{'ab'[n % 2]}\n" for n in range(16))
    rows = "".join(f"1,2,{n}:?,4,5:{'ab'[n % 2]}\n" for n in range(16))
    uneven = "".join(f"{','.join('12345'[: 1 + n % 5])}:b\n1:a\n" for n in range(8))
    plain = "# words\n" + head.format("false", "true") + rows
    return [{"it.ts": each.encode()} for each in (one, plain, head.format("true", "false") + uneven)]


def _long(n: int = 14) -> list[list[Any]]:
    rows = [["id", "time", "x", "y", "label", "group", "split"]]
    for each in range(n):
        part = ("train", "train", "train", "test", "validation", "train", "test")[each % 7]
        rows += [[f"s{each}", step, step / 3, -each, "ab"[each % 2], each // 2, part] for step in range(3)]
    return rows


def _table(rows: list[list[Any]], mark: str = ",") -> bytes:
    return "".join(mark.join(map(str, row)) + "\n" for row in rows).encode()


def _csv() -> list[Files]:
    long, plain = _long(), [row[:5] for row in _long()]
    dated = [plain[0]] + [[row[0], f"2026-01-0{row[1] + 1} 12:00:00", *row[2:]] for row in plain[1:]]
    wide = [["label", *(f"t{n}" for n in range(5))]]
    wide += [["yes" if n % 2 else "no", *range(n, n + 5)] for n in range(16)]
    named = [["x", "y"], *([n, "" if n == 3 else -n] for n in range(12))]
    quoted = _table(plain).replace(b"s1,", b'"s ""1""",').replace(b"\n", b"\r\n")
    return [
        {"it.csv": _table(long)},
        {"it.csv": b"\xef\xbb\xbf" + _table(plain, ";")},
        {"it.csv": quoted},
        {"it.csv": _table(dated)},
        {"it.tsv": _table(wide, "\t")},
        {"it.csv.gz": gzip.compress(_table(wide), mtime=0)},
        {"it.tsv.gz": gzip.compress(_table(long, "\t"), mtime=0)},
        {"it.csv": _table(named)},
        {"it_TRAIN.csv": _table(wide), "it_TEST.csv": _table(wide[:7])},
    ]


def _read_files(folder: Path) -> None:
    """One file, or those of several parts."""
    paths = sorted(folder.iterdir())
    _read_data(paths[0] if len(paths) == 1 else folder / "it")


def _parquet() -> list[Files]:
    import pyarrow as pa
    from pyarrow import parquet

    def written(table: Any, **how: Any) -> Files:
        return {"it.parquet": _saved(lambda file: parquet.write_table(table, file, **how))}

    names, *rows = _long()
    long = pa.table({name: list(cells) for name, cells in zip(names, zip(*rows, strict=True), strict=True)})
    wide = {"label": ["a", "b"] * 8} | {
        f"t{n}": np.arange(16, dtype=kind) for n, kind in enumerate(("f4", "i8", "u1"))
    }
    wide |= {"when": pa.array(range(16), pa.timestamp("us")), "flag": [True, None] * 8}
    gzipped = written(long, compression="gzip", use_dictionary=False)
    lists = {"label": ["a", "b"] * 4, "x": [[float(n)] * (1 + n % 3) for n in range(8)]}
    return [written(long), gzipped, written(pa.table(wide)), written(pa.table(lists), row_group_size=3)]


def _npz() -> list[Files]:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(14, 3, 2)), np.arange(14) % 2
    lengths, groups = 1 + np.arange(14) % 3, np.arange(14) // 2
    parts = {
        f"{key}_{part}": each for part in ("train", "test") for key, each in (("X", X), ("y", y.astype("U2")))
    }
    plain = [
        _saved(lambda f: np.savez(f, X=X, y=y, lengths=lengths, groups=groups)),
        _saved(lambda f: np.savez_compressed(f, **parts)),
        _saved(lambda f: np.savez(f, X=_images(14), y=y)),
    ]
    arrays = {"X": X.astype("f4"), "y": y, "lengths": lengths, "groups": groups}
    files = {f"{name}.npy": _saved(lambda f, a=array: np.save(f, a)) for name, array in arrays.items()}
    return [*({"it.npz": each} for each in plain), files]


def _read_arrays(folder: Path) -> None:
    paths = sorted(folder.iterdir())
    _read_data(paths[0] if len(paths) == 1 else folder)
