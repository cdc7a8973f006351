"""Descriptions of models."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scanline.storage.json_files import write_sealed_json
from tests.hostile import small
from tests.hostile.attacks.base import Attacks, Evil
from tests.hostile.attacks.pieces import DEEP, MIB, NESTED_LISTS, replaced, swapped

ATTACKS = Attacks()


def described(edit: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Path]:
    """A bundle whose description was changed and sealed again."""

    def write(folder: Path) -> Path:
        path = small.save_bundle(folder / "model") / "model.json"
        tree = json.loads(path.read_text())
        edit(tree)
        tree.pop("sha256")
        write_sealed_json(path, tree)
        return folder / "model"

    return write


ATTACKS.many(
    "bundle",
    "ModelError",
    {
        "json_100000_deep": ("not valid JSON", replaced("model.json", DEEP)),
        "json_lists_100000_deep": ("not valid JSON", replaced("model.json", NESTED_LISTS)),
        "json_of_65_mb": ("SCANLINE_LIMIT_JSON_BYTES", lambda f: replaced("model.json", b"[0]," * 2**24)(f)),
        "json_of_empty_lists": (
            "damaged|SCANLINE_LIMIT_JSON_BYTES",
            lambda f: replaced("model.json", b'{"a":[' + b"[]," * (MIB - 9) + b"0]}")(f),
        ),
        "json_a_number_of_100000_digits": (
            "not valid JSON",
            replaced("model.json", b'{"a":' + b"1" * 10**5 + b"}"),
        ),
        "json_nan": (
            "damaged",
            described(lambda t: t.update(temperature=float(1)) or t.update(temperature="NaN")),
        ),
        "json_not_utf8": ("not valid JSON", replaced("model.json", b'{"a":"\xff\xfe"}')),
        "json_utf16": ("not valid JSON", replaced("model.json", '{"a":1}'.encode("utf-16"))),
        "json_a_list": ("expected a JSON object", replaced("model.json", b"[1]")),
        "json_a_million_classes": (
            "SCANLINE_LIMIT_JSON_BYTES|class names|classes",
            lambda f: described(lambda t: t["task"].update(classes=list(range(400_000))))(f),
        ),
        "json_words_that_clear_the_screen": ("printable", described(lambda t: t.update(data="\x1b[2J"))),
        "json_words_that_turn_the_line": (
            "printable",
            described(lambda t: t["provenance"].update(licence="a\u202eb")),
        ),
        "json_a_class_of_half_a_character": (
            "damaged",
            described(lambda t: t["task"].update(classes=["\ud800", "b"])),
        ),
        "json_a_hidden_size_of_a_trillion": (
            "hidden_size",
            described(lambda t: t["architecture"].update(hidden_size=10**12)),
        ),
        "json_a_hidden_size_of_65536": (
            "does not fit its architecture",
            described(lambda t: t["architecture"].update(hidden_size=65_536)),
        ),
        "json_64_layers_of_65536": (
            "does not fit its architecture",
            described(lambda t: t["architecture"].update(hidden_size=65_536, layers=64, bidirectional=True)),
        ),
        "json_65_layers": ("layers", described(lambda t: t["architecture"].update(layers=65))),
        "json_a_module_to_import": (
            "Extra inputs",
            described(lambda t: t.update(module="os", call="system")),
        ),
        "json_a_class_to_make": ("cell", described(lambda t: t["architecture"].update(cell="os.system"))),
        "json_a_picture_of_4096_squared_in_a_model_of_2": (
            "cannot be cut|damaged",
            described(
                lambda t: t["input"].update(
                    picture={"height": 10**6, "width": 2, "box": 2, "levels": 255, "centre": "mass"}
                )
            ),
        ),
        "json_a_pipe": ("is missing", swapped("model.json", os.mkfifo)),
        "json_a_device": ("is missing", swapped("model.json", lambda path: (path).symlink_to("/dev/zero"))),
        "weights_a_pipe": ("is damaged", swapped("model.safetensors", os.mkfifo)),
        "weights_a_device": (
            "is damaged",
            swapped("model.safetensors", lambda path: (path).symlink_to("/dev/zero")),
        ),
        "weights_a_folder": ("is damaged", swapped("model.safetensors", lambda path: path.mkdir())),
        "weights_a_pickle": ("is damaged", replaced("model.safetensors", pickle.dumps(Evil()))),
    },
)
