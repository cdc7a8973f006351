"""A valid file of every format, for comparison."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.hostile import small
from tests.hostile.attacks.idx_files import idx, put_idx
from tests.hostile.attacks.pictures import picture_folder
from tests.hostile.attacks.pieces import X, Y, deflated, npy, put, put_npy, put_zip
from tests.hostile.attacks.tables import TS_HEADER


def valid_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """(kind, path) of a valid file of every format."""

    def new(name: str) -> Path:
        (folder / name).mkdir()
        return folder / name

    yield "data", put_npy(npy(np.zeros((4, 3, 2))))(new("npy"))
    yield "data", put_zip("a.npz", [("X.npy", X), ("y.npy", Y)])(new("npz"))
    images = idx(2, 2, 2) + bytes(8)
    packed = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + deflated(images, 1)
    packed += struct.pack("<II", zlib.crc32(images), len(images))
    yield "data", put_idx(images)(new("idx"))
    yield "data", put_idx(packed, ".gz")(new("idx.gz"))
    rows = b"a,b,label\n" + b"1,2,x\n3,4,y\n" * 10
    yield "data", put("a.csv", rows)(new("csv"))
    yield "data", put("a.csv", b"id,time,a,label\n1,1,2,x\n1,2,3,x\n2,1,5,y\n2,2,5,y\n" * 1)(new("long"))
    stream = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + deflated(rows, 1)
    yield "data", put("a.csv.gz", stream + struct.pack("<II", zlib.crc32(rows), len(rows)))(new("csv.gz"))
    yield "data", put("a.parquet", _valid_parquet())(new("parquet"))
    yield "data", put("a.ts", TS_HEADER + b"1,2:a\n3,4:b\n1,2:a\n3,4:b\n")(new("ts"))
    yield "data", picture_folder(folder / "pictures")
    for end, kind in (
        ("png", "PNG"),
        ("jpg", "JPEG"),
        ("tif", "TIFF"),
        ("webp", "WEBP"),
        ("bmp", "BMP"),
        ("pgm", "PPM"),
    ):
        path = folder / f"a.{end}"
        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path, kind)
        yield "picture", path
    yield "picture", put("p.npy", npy(np.eye(4, dtype=np.uint8)))(folder)
    yield "bundle", small.save_bundle(folder / "model")
    small.save_checkpoint(folder / "checkpoints")
    yield "checkpoint", folder / "checkpoints"
    yield "recipe", put("a.toml", b'base = "rows"\nseed = 7\n')(folder)
    yield "run", put("recipe.toml", b'data = {name = "digits"}\n')(new("run")).parent
    yield (
        "course",
        put("metrics.jsonl", b'{"event": "logged", "step": 1, "loss": 1, "accuracy": 1}\n')(folder),
    )
    yield "record", put("result.json", b'{"training": {"seconds": 1.5}}\n')(folder)
    yield "session", put("session", _valid_session())(folder)
    yield "lines", put("steps", b"1,2\n[1, 2]\n")(folder)
    yield "network", _valid_state_dict(folder / "a.safetensors")
    yield "network", _valid_tf1(new("tf1"))


def _valid_parquet() -> bytes:
    import pyarrow
    from pyarrow import parquet

    content = io.BytesIO()
    table = pyarrow.table({"a": [1.0, 2.0] * 10, "b": [1.0, 2.0] * 10, "label": ["x", "y"] * 10})
    parquet.write_table(table, content)
    return content.getvalue()


def _valid_session() -> bytes:

    return small.bundled().stream().to_bytes()


def _valid_state_dict(path: Path) -> Path:
    import safetensors.torch
    import torch

    recurrent, head = torch.nn.LSTM(2, 2), torch.nn.Linear(2, 2)
    state = {f"lstm.{name}": value for name, value in recurrent.state_dict().items()}
    state |= {f"head.{name}": value for name, value in head.state_dict().items()}
    safetensors.torch.save_file(state, path)
    return path


def _valid_tf1(folder: Path) -> Path:
    from tests.interchange.checkpoints import write

    variables = {
        "rnn/basic_lstm_cell/kernel": np.zeros((4, 8), np.float32),
        "rnn/basic_lstm_cell/bias": np.zeros(8, np.float32),
        "w": np.zeros((2, 2), np.float32),
        "b": np.zeros(2, np.float32),
    }
    return write(folder, variables)
