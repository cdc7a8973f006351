"""Networks of other libraries."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.attacks.base import Attacks, Evil
from tests.hostile.attacks.pieces import DEEP, GIB, MIB, linked, put, put_zip, sparse, with_flag

ATTACKS = Attacks()


def keras_zip(*members: tuple[Any, bytes], edit: Any = None) -> Callable[[Path], Path]:
    return put_zip("a.keras", list(members), edit)


_CONFIG, _H5 = ("config.json", b"{}"), ("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(99))

ATTACKS.many(
    "network",
    "ModelError",
    {
        "keras_zip_slip": ("would leave its folder", keras_zip(_CONFIG, _H5, ("../../out", b"x"))),
        "keras_link": ("found a link", keras_zip(_CONFIG, _H5, (linked("assets"), b"/etc"))),
        "keras_bomb": (
            "SCANLINE_LIMIT_EXPANSION",
            lambda f: keras_zip(_CONFIG, ("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(200 * MIB)))(f),
        ),
        "keras_bomb_of_a_description": (
            "SCANLINE_LIMIT_JSON_BYTES",
            lambda f: keras_zip(("config.json", b" " * 64 * MIB), _H5)(f),
        ),
        "keras_description_100000_deep": ("not valid JSON", keras_zip(("config.json", DEEP), _H5)),
        "keras_lambda": (
            "",
            keras_zip(
                ("config.json", json.dumps({"class_name": "Lambda", "config": {"function": "x"}}).encode()),
                _H5,
            ),
        ),
        "keras_encrypted": ("in the clear", keras_zip(_CONFIG, _H5, edit=lambda whole: with_flag(whole, 1))),
        "keras_a_pipe": ("expected a (regular )?file", lambda f: os.mkfifo(f / "a.keras") or f / "a.keras"),
        "keras_h5_of_zeros": ("damaged", put("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(4096))),
        "torch_pickle": ("may be pickled", put("a.pt", pickle.dumps(Evil()))),
        "torch_pickle_called_safetensors": ("a.safetensors", put("a.safetensors", pickle.dumps(Evil()))),
        "torch_a_pipe": ("a.safetensors", lambda f: os.mkfifo(f / "a.safetensors") or f / "a.safetensors"),
        "tf1_that_leads_out": (
            "there is no .*/passwd.index",
            lambda f: put("checkpoint", b'model_checkpoint_path: "../../../../etc/passwd"\n')(f).parent,
        ),
        "tf1_that_leads_to_the_root": (
            "there is no .*/shadow.index",
            lambda f: put("checkpoint", b'model_checkpoint_path: "/etc/shadow"\n')(f).parent,
        ),
        "tf1_an_index_of_zeros": ("expected a table", put("m.index", bytes(4096))),
        "tf1_an_index_of_1_gib": ("expected at most", sparse("m.index", b"", GIB)),
        "tf1_a_pipe": ("", lambda f: os.mkfifo(f / "m.index") or f / "m.index"),
    },
)


@ATTACKS.one("network", "ModelError", "expected 1 to 99,999 data files")
def tf1_a_billion_data_files(folder: Path) -> Path:
    from tests.interchange.checkpoints import header, write

    def edit(items: Any) -> Any:
        return [(b"", header(10**9)), *items[1:]]

    write(folder, {"a": np.zeros(2, np.float32)}, edit=edit)
    return folder / "model.ckpt"
