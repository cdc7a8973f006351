"""Weights and checkpoints."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

from tests.hostile import small
from tests.hostile.attacks.base import Attack, Attacks, Evil
from tests.hostile.attacks.pieces import DEEP, entry, put, replaced, swapped, tensors

ATTACKS = Attacks()

WEIGHTS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "header_of_2_to_the_63": ("header", lambda: tensors({"a": entry()}, bytes(4), length=2**63)),
    "header_of_2_to_the_64": ("header", lambda: tensors({"a": entry()}, bytes(4), length=2**64 - 1)),
    "header_past_the_end": ("header", lambda: tensors({"a": entry()}, bytes(4), length=4096)),
    "header_of_100_mb_of_spaces": ("header", lambda: tensors({"a": entry()}, bytes(4), pad=b" " * 10**8)),
    "header_100000_deep": ("", lambda: tensors(DEEP, bytes(4))),
    "header_that_is_a_list": ("", lambda: tensors(b"[1]", bytes(4))),
    "header_not_utf8": ("", lambda: tensors(b'{"\xff": 1}', bytes(4))),
    "header_of_empty_lists": ("", lambda: tensors(b'{"a":[' + b"[]," * 10**6 + b"0]}", bytes(4))),
    "overlap": ("bytes from", lambda: tensors({"a": entry(), "b": entry(offsets=(2, 6))}, bytes(6))),
    "the_same_bytes_twice": ("bytes from", lambda: tensors({"a": entry(), "b": entry()}, bytes(4))),
    "gap": ("bytes from", lambda: tensors({"a": entry(), "b": entry(offsets=(8, 12))}, bytes(12))),
    "gap_at_the_beginning": ("bytes from", lambda: tensors({"a": entry(offsets=(4, 8))}, bytes(8))),
    "bytes_at_the_end": ("bytes of values", lambda: tensors({"a": entry()}, bytes(8))),
    "offsets_past_the_end": (
        "bytes of values",
        lambda: tensors({"a": entry(shape=(9,), offsets=(0, 36))}, bytes(4)),
    ),
    "offsets_backward": ("", lambda: tensors({"a": entry(offsets=(4, 0))}, bytes(4))),
    "offsets_negative": ("", lambda: tensors({"a": entry(offsets=(-4, 0))}, bytes(4))),
    "offsets_of_2_to_the_64": ("", lambda: tensors({"a": entry(offsets=(2**64 - 4, 2**64))}, bytes(4))),
    "offsets_that_are_fractions": ("", lambda: tensors({"a": entry(offsets=(0, 4.0))}, bytes(4))),
    "shape_that_overflows": ("", lambda: tensors({"a": entry(shape=(2**32, 2**32, 2))}, bytes(4))),
    "shape_that_overflows_to_fit": ("", lambda: tensors({"a": entry(shape=(2**62 + 1,))}, bytes(4))),
    "shape_negative": ("", lambda: tensors({"a": entry(shape=(-1, -1))}, bytes(4))),
    "shape_true": ("", lambda: tensors({"a": entry(shape=(True,))}, bytes(4))),
    "shape_of_100_dimensions": ("", lambda: tensors({"a": entry(shape=[1] * 100)}, bytes(4))),
    "type_unknown": ("", lambda: tensors({"a": entry("OBJECT")}, bytes(4))),
    "type_of_another_size": ("bytes of values", lambda: tensors({"a": entry("F64")}, bytes(4))),
    "name_twice": (
        "twice",
        lambda: tensors(b'{"a":%b,"a":%b}' % ((json.dumps(entry()).encode(),) * 2), bytes(4)),
    ),
    "key_twice": (
        "twice",
        lambda: tensors(b'{"a":{"dtype":"I8","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
    ),
    "a_million_tensors_of_nothing": (
        "",
        lambda: tensors(
            b"{"
            + b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % i for i in range(10**6))
            + b"}"
        ),
    ),
    "9000_tensors_of_nothing": (
        "",
        lambda: tensors({str(i): entry(shape=(0,), offsets=(0, 0)) for i in range(9000)}),
    ),
    "about_that_is_no_text": ("", lambda: tensors({"__metadata__": {"a": {"b": 1}}, "a": entry()}, bytes(4))),
    "more_than_it_may_say": ("", lambda: tensors({"a": entry() | {"load": "os.system"}}, bytes(4))),
    "nothing": ("", lambda: b""),
    "eight_zeros": ("", lambda: bytes(8)),
}
for _name, (_says, _make) in WEIGHTS.items():

    def _weights(folder: Path, make: Callable[[], bytes] = _make) -> Path:
        return replaced("model.safetensors", make())(folder)

    def _network(folder: Path, make: Callable[[], bytes] = _make) -> Path:
        return put("a.safetensors", make())(folder)

    ATTACKS.append(
        Attack(f"weights_{_name}", "bundle", "ModelError", f"model.safetensors.*{_says}", _weights)
    )
    ATTACKS.append(Attack(f"import_{_name}", "network", "ModelError", f"a.safetensors.*{_says}", _network))


def checkpointed(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        put(name, content)(small.save_checkpoint(folder / "model"))
        return folder / "model"

    return write


ATTACKS.many(
    "checkpoint",
    "ModelError",
    {
        "state_100000_deep": ("not valid JSON", checkpointed("state.json", DEEP)),
        "state_a_list": ("expected a JSON object", checkpointed("state.json", b"[1]")),
        "state_a_pipe": ("state.json", swapped("state.json", os.mkfifo, small.save_checkpoint)),
        "state_weights_a_pickle": (
            "model.safetensors",
            checkpointed("model.safetensors", pickle.dumps(Evil())),
        ),
        "state_optimizer_a_pickle": (
            "optimizer.safetensors",
            checkpointed("optimizer.safetensors", pickle.dumps(Evil())),
        ),
        "state_optimizer_name_twice": (
            "twice",
            checkpointed("optimizer.safetensors", WEIGHTS["name_twice"][1]()),
        ),
    },
)
