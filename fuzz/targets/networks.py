"""Targets that import other frameworks' networks."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np

from fuzz.mutators import Files
from fuzz.targets.base import _made_by
from fuzz.targets.models import use


def _read_network(path: Path) -> None:
    """As `import` does, to the bundle."""
    from scanline.interchange.reading import read_network

    network = read_network(path)
    made = network.to_model(path)
    use(made)


def _tf1() -> list[Files]:
    from tests.interchange.checkpoints import write

    def random(*shape: int) -> np.ndarray:
        return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)

    last = {"Variable": random(4, 3), "Variable_1": random(3), "global_step": np.array(3, np.int64)}
    lstm = {"rnn/lstm_cell/kernel": random(7, 16), "rnn/lstm_cell/bias": random(16)}
    second = {
        f"rnn/multi_rnn_cell/cell_{n}/basic_lstm_cell/{key}": random(*size)
        for n in (0, 1)
        for key, size in (("kernel", (7 + n, 16)), ("bias", (16,)))
    }
    gru = {
        f"rnn/gru_cell/{gate}/{key}": random(*((7,) if key == "kernel" else ()), 8 // wide)
        for gate, wide in (("gates", 1), ("candidate", 2))
        for key in ("kernel", "bias")
    }
    slots = {f"{name}/Adam{end}": value for name, value in lstm.items() for end in ("", "_1")}
    made = [
        _made_by(lambda folder: write(folder, lstm | last)),
        _made_by(lambda folder: write(folder, lstm | last | slots, shards=2, block_bytes=200)),
        _made_by(lambda folder: write(folder, second | last)),
        _made_by(lambda folder: write(folder, gru | last)),
    ]
    return [made[0] | {"checkpoint": b'model_checkpoint_path: "/a/model.ckpt"\n'}, *made[1:]]


def _seal_table(files: Files, rng: Random) -> Files:
    """The index with its entries changed in their meaning, or the checksums of its blocks put right."""
    from scanline.formats.crc32c import crc32c
    from tests.interchange.checkpoints import masked

    name = next((name for name in files if name.endswith(".index")), None)
    if name is None or len(files[name]) < 60:
        return files
    data = bytearray(files[name])
    # Blocks follow one another: each ends where its trailer of five bytes begins.
    for begin, size in _blocks(bytes(data)):
        if begin >= 0 and begin + size + 5 <= len(data):
            if rng.random() < 0.5 and size > 1:
                at = begin + rng.randrange(size)
                data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, data[at] ^ 1, (data[at] + 1) % 256))
            data[begin + size + 1 : begin + size + 5] = masked(
                crc32c(bytes(data[begin : begin + size + 1]))
            ).to_bytes(4, "little")
    return files | {name: bytes(data)}


def _blocks(data: bytes) -> list[tuple[int, int]]:
    """(place, size) of the blocks that the footer and the index name; what cannot be followed is left out."""
    from scanline.errors import FormatError
    from scanline.formats.leveldb import read_entries, read_handle

    found = []
    try:
        meta, place = read_handle(data, len(data) - 48, len(data) - 8)
        index, _ = read_handle(data, place, len(data) - 8)
        found += [meta, index]
        block = data[index[0] : index[0] + index[1]]
        found += [read_handle(value, 0, len(value))[0] for _, value in read_entries(block, 0, len(data) ** 2)]
    except FormatError:
        pass
    return found


def _keras() -> list[Files]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tests.interchange.keras_models import chain, drawn, functional, normalization

        found = []
        models = (
            functional(chain("gru", before=(normalization(),))),
            functional(chain("lstm", count=2, both=True, readout="mean")),
            functional(chain("rnn", bias=False, answers=None)),
        )
        for model in map(drawn, models):
            for ending in ("keras", "h5"):
                files = _made_by(lambda folder, m=model, e=ending: m.save(folder / f"it.{e}"))
                found.append(files)
    return found


def _state_dicts() -> list[Files]:
    import torch
    from safetensors.torch import save
    from torch import nn

    torch.manual_seed(0)
    found = []
    for kind, both, layers in ((nn.LSTM, False, 2), (nn.GRU, True, 1), (nn.RNN, False, 1)):
        net = nn.ModuleDict(
            {"rnn": kind(3, 4, layers, bidirectional=both), "fc": nn.Linear(4 * (1 + both), 3)}
        )
        found.append({"it.safetensors": save(dict(net.state_dict()), {"format": "pt"})})
    return found
