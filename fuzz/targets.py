"""Every reader of Scanline: small valid files from real writers, and the call that reads them.

A target reads as the command line does. Whatever it is given, it may raise a ScanlineError and nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import gzip
import importlib
import io
import json
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz.mutators import Files
from scanline.errors import ScanlineError

Repair = Callable[[Files, Random], Files]


@dataclass(frozen=True)
class Target:
    """A reader.

    seeds: valid inputs, made when asked for. read: reads what lies in the folder that it is given. repair:
    puts right the checksums of changed files, so that a reader looks further. needs: packages, without which
    there is nothing to try.
    """

    name: str
    seeds: Callable[[], list[Files]]
    read: Callable[[Path], object]
    repair: Repair | None = None
    needs: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """A package that it needs and that is not installed."""
        return next((name for name in self.needs if importlib.util.find_spec(name) is None), None)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What is said of a bad input is no reason not to read it in another way too."""
    with contextlib.suppress(ScanlineError):
        yield


def _saved(write: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def _only(folder: Path) -> Path:
    return next(folder.iterdir())


def _tree(folder: Path) -> Files:
    """The files in a folder by their paths in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _made_by(write: Callable[[Path], object]) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        return _tree(Path(folder))


# --- data


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
    from scanline.data.transforms.scaler import shift_and_scale
    from scanline.recipe import UNSAID, UNSPLIT
    from scanline.training.preparation import prepare

    plain, careful, pictures = _plans()
    for said, plans in (({}, (plain, pictures)), (_SAID[_digest(path) % len(_SAID)], (careful,))):
        settings = UNSAID.model_copy(update=said)
        with told():
            samples = catalog.read(str(path), settings)
            for plan in plans:
                with told():
                    ready = prepare(plan, partition(samples, UNSPLIT, plan.input.missing))
                    shift_and_scale(ready.data, plan.input.scaling)
        with told():
            catalog.read(str(path), settings, None, TO_EVALUATE).evaluation_source("zero").fingerprint()
        with told():
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
        with told():
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
    return [written(long), gzipped, written(pa.table(wide))]


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


# --- pictures


def _pictures() -> list[Files]:
    from PIL import Image

    rng = np.random.default_rng(0)
    grey = Image.fromarray(rng.integers(0, 256, (9, 7), dtype=np.uint8))
    colour = Image.fromarray(rng.integers(0, 256, (9, 7, 4), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (5, 6), dtype=np.uint16))
    floats = Image.fromarray(rng.random((5, 6), dtype=np.float32))
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds: list[tuple[str, Image.Image, str, dict[str, Any]]] = [
        *(
            ("it.png", each, "PNG", {})
            for each in (grey, colour, deep, grey.convert("1"), colour.convert("P"))
        ),
        ("it.png", colour, "PNG", {"save_all": True, "append_images": [colour.rotate(90)]}),
        ("it.jpg", colour.convert("RGB"), "JPEG", {"exif": turned}),
        ("it.jpg", grey, "JPEG", {"progressive": True}),
        ("it.jpg", colour.convert("CMYK"), "JPEG", {}),
        *(
            (f"it.p{kind}m", each, "PPM", {})
            for kind, each in (("g", grey), ("p", colour.convert("RGB")), ("b", grey.convert("1")))
        ),
        ("it.pgm", deep, "PPM", {}),
        *(("it.bmp", each, "BMP", {}) for each in (grey, colour.convert("RGB"), grey.convert("P"))),
        *(("it.tiff", each, "TIFF", {}) for each in (grey, colour, deep, floats)),
        *(("it.tif", grey, "TIFF", {"compression": how}) for how in ("tiff_lzw", "tiff_deflate", "packbits")),
        ("it.webp", colour, "WEBP", {"lossless": True}),
        (
            "it.webp",
            colour.convert("RGB"),
            "WEBP",
            {"save_all": True, "append_images": [colour.convert("RGB")]},
        ),
    ]
    found = [
        {name: _saved(lambda f, i=image, k=kind, o=own: i.save(f, k, **o))}
        for name, image, kind, own in kinds
    ]
    arrays = [_images(1)[0], rng.random((4, 5, 3)), rng.integers(0, 256, (4, 5, 4)), rng.random((3, 3)) > 0.5]
    found += [{"it.npy": _saved(lambda f, a=array: np.save(f, a))} for array in arrays]
    # Without a netpbm header of its own: text, as people write it.
    found.append({"it.pgm": b"P2\n# a word\n3 2\n15\n0 1 2\n13 14 15\n"})
    return found


def _read_picture(folder: Path) -> None:
    """As `predict`, `explain` and the server take one."""
    from scanline.data.transforms.framing import fit_picture
    from scanline.formats.images import decode_pixels, read_pixels

    path = _only(folder)
    for form in (*_forms()[:2], _forms()[_digest(path) % len(_forms())]):
        colour = form.channels == 3
        with told():
            fit_picture(read_pixels(path, colour), form, str(path))
        with told():
            fit_picture(decode_pixels(path.read_bytes(), "it", colour, 1_000_000), form, "it")


@functools.cache
def _forms() -> tuple[Any, ...]:
    """Grey and coloured pictures, and all other ways to fit them."""
    from scanline.data.readers.pictures import picture_format
    from scanline.recipe import UNSAID

    kinds = ((1, ""), (3, ""), (1, "ink"), (1, "cover"), (1, "stretch"), (3, "cover"), (3, "stretch"))
    return tuple(
        picture_format(8, 8, channels, UNSAID.model_copy(update={"fit": fit})) for channels, fit in kinds
    )


def _folders() -> list[Files]:
    from PIL import Image

    def drawn(seed: int, kind: str = "PNG", size: tuple[int, int] = (4, 4)) -> bytes:
        values = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
        return _saved(lambda file: Image.fromarray(values).save(file, kind))

    plain = {f"{name}/{n}.png": drawn(n) for name in ("cat", "dog") for n in range(8)}
    parts = {f"{part}/{n % 2}/{n}.bmp": drawn(n, "BMP") for part in ("train", "test") for n in range(6)}
    return [plain, parts | {"train/notes.txt": b"words"}]


# --- what is set up by words


def _recipes() -> list[Files]:
    from scanline import recipe

    own = b'base = "rows"\nname = "own"\n[model]\nhidden_size = 16\n[train]\nsamples = 0\nsteps = 10\n'
    return [{"it.toml": own}] + [{"it.toml": recipe.load(name).to_toml().encode()} for name in recipe.names()]


def _read_recipe(folder: Path) -> None:
    from scanline import recipe

    path = _only(folder)
    plan = recipe.load(str(path))
    recipe.parse(plan.to_toml())  # what is read can be written and read again


def _settings() -> list[Files]:
    said = (
        "train.batch_size=64",
        "name=x",
        "model.cell=gru",
        'data.feature_columns=["a", "b"]',
        "seed = 3",
        "x.y=z",
    )
    return [{"it.txt": each.encode()} for each in said]


def _read_setting(folder: Path) -> None:
    from scanline import recipe

    key, value = recipe.parse_setting(_only(folder).read_text("utf-8", "replace"))
    recipe.load("rows", {key: value})


# --- models and runs


def make_model(folder: Path | None = None, **changes: Any) -> Any:
    """A small model of made-up weights, saved to `folder` if one is named.

    changes: cell, layers, readout, missing, bidirectional, picture.
    """
    import torch

    from scanline.data.preprocessing import Preprocessing
    from scanline.model.artifact import Model
    from scanline.model.network import Architecture, Network
    from scanline.recipe import UNSAID
    from scanline.tasks.classification import Classification

    chosen = {
        "cell": "lstm",
        "layers": 1,
        "readout": "last",
        "missing": "error",
        "bidirectional": False,
    } | changes
    picture, features = chosen.get("picture"), 8 if chosen.get("picture") else 3
    sizes = (
        chosen["cell"],
        features,
        4,
        chosen["layers"],
        chosen["bidirectional"],
        0.0,
        "between",
        chosen["readout"],
        3,
    )
    network = Network(Architecture(*sizes)).eval()
    generator = torch.Generator().manual_seed(0)
    for tensor in network.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    means = (0.5,) * features if chosen["missing"] in ("mean", "forward-fill") else ()
    settings = UNSAID.model_copy(update={"feature_columns": () if picture else ("x", "y", "z")})
    form = Preprocessing(
        _forms()[0] if picture else None, "rows", 0, features, features, chosen["missing"], means, settings
    )
    held = Model(network, Classification(("a", "b", 3)), form, "made up", 1.5)
    if folder is not None:
        held.save(folder, "0")
    return held


MODELS: tuple[dict[str, Any], ...] = (
    {},
    {"picture": True},
    {"cell": "gru", "layers": 2, "readout": "mean", "missing": "forward-fill"},
    {"cell": "rnn", "bidirectional": True, "readout": "max", "missing": "mean"},
)


def _bundles() -> list[Files]:
    return [_made_by(lambda folder, m=model: make_model(folder / "model", **m)) for model in MODELS]


def _reseal(files: Files, rng: Random) -> Files:
    """Descriptions of models and states with the digests of what lies beside them, and of themselves."""
    import safetensors.torch

    from scanline.model.model_files import describe_tensors
    from scanline.storage.digest import sha256
    from scanline.storage.json_files import seal

    files = dict(files)
    for name in [name for name in files if name.endswith(("model.json", "state.json"))]:
        place = name[: name.rfind("/") + 1]
        beside = {path.removeprefix(place): held for path, held in files.items() if path.startswith(place)}
        weights = {path: held for path, held in beside.items() if path.endswith(".safetensors")}
        try:
            tree = json.loads(files[name])
            tree.pop("sha256", None)
            if rng.random() < 0.8 and "files" in tree:
                tree["files"] |= {path: sha256(held) for path, held in weights.items()}
            elif rng.random() < 0.8:
                with contextlib.suppress(Exception):  # weights that cannot be read have no digests
                    digests = describe_tensors(safetensors.torch.load(*weights.values()))
                    tree["tensors"] = {name: each.model_dump() for name, each in digests.items()}
            files[name] = json.dumps(tree | {"sha256": seal(tree)}).encode()
        except (ValueError, TypeError, AttributeError, RecursionError):
            continue
    return files


def _read_model(folder: Path) -> None:
    from scanline.model.artifact import load
    from scanline.model.card import model_card

    model = load(folder / "model")
    use(model)
    model_card(model.describe(), model.task, model.data, 1)
    with told():
        load(folder / "model", calibrated=True)


def use(model: Any) -> None:
    """Has a model answer, if that takes no more than a moment."""
    form, a = model.preprocessing, model.network.architecture
    if a.input_size * a.hidden_size * a.layers > 100_000:
        return
    if form.picture is not None:
        p = form.picture
        if p.height * p.width > 4096:
            return
        with told():
            model.predict_proba(
                np.zeros((1, p.height, p.width, *((3,) if p.channels == 3 else ())), np.uint8)
            )
        return
    with told():
        model.predict_proba(np.ones((1, 3, form.source_features), np.float32))
    with told():
        model.stream().feed(np.ones((2, form.features), np.float32))


def _architecture() -> Any:
    from scanline.model.network import Architecture

    return Architecture("gru", 3, 4, 1, False, 0.0, "between", "last", 2)


def _checkpoints() -> list[Files]:
    import torch

    from scanline import recipe
    from scanline.training import checkpoint
    from scanline.training.checkpoint_state import Position
    from scanline.training.state import BestValidation, initial_state

    def write(folder: Path, best: bool) -> None:
        state = initial_state(recipe.load("rows"), _architecture(), 0.0, 1.0, "cpu")
        state.network(torch.ones(2, 3, 3)).sum().backward()
        state.optimizer.step()
        state.step, state.best = 7, BestValidation(0.5, 3, 2)
        if best:
            weights = {name: each.clone() for name, each in state.network.state_dict().items()}
            state.best = BestValidation(0.5, 3, 2, weights)
        at = Position(metrics_bytes=10, log_bytes=20, seconds=1.5)
        checkpoint.save(folder, checkpoint.snapshot(state, at))

    return [_made_by(lambda folder, b=best: write(folder, b)) for best in (False, True)]


@functools.cache
def _settings_of_training() -> Any:
    from scanline import recipe

    return recipe.load("rows").train


def _read_checkpoint(folder: Path) -> None:
    """As `train --resume` does, and a step more."""
    import torch

    from scanline.tasks.classification import Classification
    from scanline.training import checkpoint
    from scanline.training.step import train_step

    settings = _settings_of_training()
    state = checkpoint.load_newest(folder, _architecture(), settings, "cpu").state
    batch = torch.ones(2, 3, 3), None, torch.tensor([0, 1])
    step = min(state.step, settings.total_steps)
    train_step(state.network, state.optimizer, Classification((0, 1)), batch, settings, step)


def _runs() -> list[Files]:
    """A run that was cut off before it had a model, of which a report tells what its files say."""
    from scanline.training.run import TrainingRun

    names = ("recipe.toml", "environment.json", "split.json", "metrics.jsonl", "result.json")

    def write(folder: Path) -> None:
        settings = {"train.samples": 0, "train.steps": 2, "train.validate_every": 1, "train.log_every": 1}
        X = np.random.default_rng(0).random((30, 3, 2)).astype(np.float32)
        np.savez(folder / "it.npz", X=X, y=np.arange(30) % 2)
        run = TrainingRun.begin(str(folder / "it.npz"), settings=settings, run=folder / "run", device="cpu")
        for _ in run.events():
            pass

    made = _made_by(write)
    files = {name: made[f"run/{name}"] for name in names}
    course = {name: held for name, held in files.items() if name != "metrics.jsonl"}
    return [
        course,
        course,
        course,
        files,
        {name: held for name, held in course.items() if name != "result.json"},
    ]


def _read_run(folder: Path) -> None:
    from scanline.reporting.report import report
    from scanline.training.provenance import trained_on

    with told():
        trained_on(folder)
    report(folder)


_DATA = "@DATA@"  # stands in a recipe for where the data lie in this process


@functools.cache
def _data() -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """A folder that lasts as long as the process, and a file of sequences in it."""
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "it.npz"
    X = np.random.default_rng(0).random((30, 3, 2)).astype(np.float32)
    np.savez(path, X=X, y=np.arange(30) % 2)
    return folder, path


_INTERRUPTED = (
    b'{"schema": 1, "training": {"status": "interrupted", "samples_seen": 0, "steps": 0, "seconds": 0.0, '
    b'"samples_per_s": null, "backend": "torch", "precision": "float32", "device": "cpu"}}'
)


def _unfinished() -> list[Files]:
    """Runs that can go on."""
    from scanline.training.run import TrainingRun

    _, data = _data()

    def write(folder: Path, **own: Any) -> None:
        few = {"train.samples": 0, "train.steps": 3, "train.log_every": 1, "model.hidden_size": 4} | own
        run = TrainingRun.begin(str(data), settings=few, run=folder / "it", device="cpu")
        run.close()

    found = []
    for own in ({}, {"train.epochs": 0, "train.patience": 2, "train.validate_every": 1, "model.cell": "gru"}):
        made = _made_by(lambda folder, o=own: write(folder, **o))
        files = {name.removeprefix("it/"): held for name, held in made.items()}
        files["recipe.toml"] = files["recipe.toml"].replace(str(data).encode(), _DATA.encode())
        found += [files, files | {"result.json": _INTERRUPTED}]
    return found


def _read_unfinished(folder: Path) -> None:
    """As `train --resume` does, to the first thing that it has to say."""
    from scanline.training.run import TrainingRun

    path = folder / "recipe.toml"
    if path.exists():
        path.write_bytes(path.read_bytes().replace(_DATA.encode(), str(_data()[1]).encode()))
    run = TrainingRun.resume(run=folder, device="cpu")
    if run.recipe.train.total_steps > 100 or run.recipe.model.hidden_size > 100:  # that may take its time
        run.close()
        return
    records = run.events()
    try:
        next(records, None)
    finally:
        records.close()


def _results() -> list[Files]:
    return [{"result.json": _runs()[0]["result.json"]}]


def _read_result(folder: Path) -> None:
    """As `compare` prints it, beside a model that never ran."""
    from click.testing import CliRunner

    from scanline.cli.compare import command

    names = []
    for name, files in _compared().items():
        for path, content in files.items():
            place = folder / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        names.append(str(folder / name))
    if (folder / "result.json").exists():
        (folder / "result.json").rename(folder / "one/result.json")
    failure = CliRunner().invoke(command, [*names[:2], "--data", f"{names[2]}/it.npz"]).exception
    if failure is not None and not isinstance(failure, SystemExit):
        raise failure


@functools.cache
def _compared() -> dict[str, Files]:
    """Two models, and what they are compared on."""
    X = np.random.default_rng(0).random((9, 3, 3)).astype(np.float32)
    data = _saved(lambda file: np.savez(file, X=X, y=np.array(["a", "b", "3"] * 3)))
    models = [
        _made_by(lambda folder, c=cell: make_model(folder / "model", cell=c)) for cell in ("lstm", "gru")
    ]
    return {"one": models[0], "two": models[1], "data": {"it.npz": data}}


# --- sessions, lines and requests


@functools.cache
def _models() -> tuple[Any, ...]:
    return tuple(make_model(**each) for each in MODELS)


def _sessions() -> list[Files]:
    found = []
    for model in (_models()[0], _models()[2]):
        for count in (None, 2):
            session = model.stream(count)
            shape = (3, 3) if count is None else (count, 3, 3)
            session.feed(np.ones(shape, np.float32))
            found.append({"it.session": session.to_bytes()})
    return found


def _seal_session(files: Files, rng: Random) -> Files:
    import safetensors.numpy

    from scanline.model.session import _identity, seal

    content = files["it.session"]
    try:
        arrays = safetensors.numpy.load(content)
        size = int.from_bytes(content[:8], "little")
        described = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["scanline"])
        described.pop("sha256", None)
        if rng.random() < 0.5:
            from fuzz.mutators import changed_value

            described = changed_value(described, rng)
        if rng.random() < 0.8:
            described["model"] = _identity(
                *(getattr(_models()[rng.choice((0, 2))], k) for k in ("network", "preprocessing"))
            )
        described["sha256"] = seal(described, arrays)
        return {"it.session": safetensors.numpy.save(arrays, {"scanline": json.dumps(described)})}
    except Exception:  # noqa: BLE001  there is nothing to seal
        return files


def _read_session(folder: Path) -> None:
    content = _only(folder).read_bytes()
    for model in (_models()[0], _models()[2]):
        with told():
            session = model.resume(content)
            steps = np.ones((2, 3) if np.ndim(session.steps) == 0 else (len(session.steps), 2, 3), np.float32)
            session.feed(steps)
            model.resume(session.to_bytes())


def _lines() -> list[Files]:
    csv = b"x,y,z\n1,2,3\n,5,6\n\n7,8,9\n"
    objects = b'{"x": 1, "y": 2.5, "z": null}\n[1, 2, 3]\n\n{"z": 1, "y": 2, "x": 3}\n'
    return [{"it.csv": csv}, {"it.ndjson": objects}, {"it.csv": b"0.1, 0.2, 0.3\n-1,1e3,4\n"}]


def _read_lines(folder: Path) -> None:
    from scanline.evaluation.predict_lines import predict_lines

    text = _only(folder).read_bytes().decode("utf-8", "replace")  # as standard input is read
    for model in (_models()[0], _models()[2]):
        with told():
            for answer in (each.to_json() for each in predict_lines(model, io.StringIO(text))):
                json.dumps(answer)


def _requests() -> list[Files]:
    steps, picture = [[1, 2, 3], [4, None, 6.5]], np.arange(64).reshape(8, 8).tolist()
    what = {"blank": [1], "clamp": [{"gate": "forget", "value": 1.0, "layer": 1}], "silence": [{"unit": 0}]}
    told_all = {"inputs": [steps], "trace": True, "what_if": what | {"blank": []}}
    wishes: tuple[Any, ...] = (
        {"inputs": [steps, steps[:1]], "lengths": [2, 1]},
        {"inputs": [[[1, 2, 3]]], "what_if": what},
        told_all,
        {"inputs": [picture]},
        {"inputs": [picture, [[0, 5], [9, 0], [1, 1]]], "fit": True, "full_scale": 10},
        {"steps": [[1, 2, 3], [1, None, 3]]},
        {"save": True},
        {"resume": "AAAA"},
        *({"resume": base64.b64encode(each["it.session"]).decode()} for each in _sessions()),
        {"reset": True},
    )
    return [{"it.json": json.dumps(each).encode()} for each in wishes]


@functools.cache
def _servers() -> list[tuple[Any, Any, Any]]:
    from scanline.serving.limits import Limits
    from scanline.serving.requests import RequestParser
    from scanline.serving.responses import Responder
    from scanline.serving.stream import Stream

    found = []
    for model in (_models()[0], _models()[1], _models()[2]):
        parser, responder = RequestParser(model, Limits(pixels=1_000_000)), Responder(model, "0")
        found.append((parser, responder, Stream(responder, parser)))
    return found


def _read_request(folder: Path) -> None:
    """As the server reads and answers it, without a socket."""
    body = _only(folder).read_bytes()
    for parser, responder, stream in _servers():
        with told():
            request = parser.parse_json(body)
            plain = request.is_plain
            responses = responder.respond_all([request]) if plain else [responder.respond(request)]
            assert all(json.loads(each) for each in responses)
        with told():
            text = body.decode("utf-8", "replace")  # as a WebSocket hands it on
            json.loads(stream.respond(text))


def _uploads() -> list[Files]:
    return [each for each in _pictures() if "it.npy" not in each]


def _read_upload(folder: Path) -> None:
    parser, responder, _ = _servers()[1]
    path = _only(folder)
    responder.respond(parser.parse_images([(path.name, path.read_bytes())], trace=True))


def _posted() -> list[Files]:
    """A request: its body, its headers, and its query."""
    png = _pictures()[0]["it.png"]
    part = b'--x\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n'
    part += b"Content-Type: image/png\r\n\r\n%b\r\n"
    form = part % (b"a", b"a.png", png) + part % (b"b", b"\xc3\xa9.png", png) + b"--x--\r\n"
    packed = gzip.compress(_requests()[0]["it.json"], mtime=0)
    kinds = [["content-type", "multipart/form-data; boundary=x"], ["content-length", str(len(form))]]
    gzipped = [["content-encoding", "gzip"], ["content-type", "application/json"], ["expect", "100-continue"]]
    return [
        {"body.preprocessing": form, "headers.json": json.dumps(kinds).encode(), "query.txt": b"trace=true"},
        {"body.json.gz": packed, "headers.json": json.dumps(gzipped).encode(), "query.txt": b"trace=false&x"},
    ]


def _read_posted(folder: Path) -> None:
    """As the server takes a body, and pictures out of a form."""
    from scanline.serving.body import Body, BodyMemory
    from scanline.serving.limits import Limits
    from scanline.serving.uploads import form_files, query_flag

    parser, responder, _ = _servers()[1]
    body = next((path.read_bytes() for path in folder.iterdir() if path.name.startswith("body")), b"")
    parts = [body[: len(body) // 2], body[len(body) // 2 :]]
    scope = {"type": "http", "headers": _headers(folder / "headers.json"), "query_string": b""}
    if (folder / "query.txt").exists():
        scope["query_string"] = (folder / "query.txt").read_bytes()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def answer() -> None:
        content = await Body(Limits(), BodyMemory(2**26)).read(scope, receive)
        with told():
            parser.parse_json(content)
        with told():
            query_flag(scope, "trace")
        files = await form_files(scope, content)
        responder.respond(parser.parse_images(files, False))

    _loop().run_until_complete(answer())


def _headers(path: Path) -> list[tuple[bytes, bytes]]:
    """What a mutated file still has of them, as the parser of HTTP hands them on."""
    try:
        given = json.loads(path.read_bytes())
        return [
            tuple(str(each).encode("latin-1", "replace") for each in pair) for pair in given if len(pair) == 2
        ]
    except (OSError, ValueError, TypeError, RecursionError):
        return []


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


# --- other people's networks


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


TARGETS = (
    Target("idx", _idx, _read_idx),
    Target("ts", _ts, _read_files),
    Target("csv", _csv, _read_files, needs=("pyarrow",)),
    Target("parquet", _parquet, _read_files, needs=("pyarrow",)),
    Target("npz", _npz, _read_arrays),
    Target("pictures", _pictures, _read_picture),
    Target("folders", _folders, _read_data),
    Target("recipe", _recipes, _read_recipe),
    Target("setting", _settings, _read_setting),
    Target("bundle", _bundles, _read_model, _reseal),
    Target("checkpoint", _checkpoints, _read_checkpoint, _reseal),
    Target("resume", _unfinished, _read_unfinished, _reseal),
    Target("run", _runs, _read_run, needs=("jinja2", "matplotlib")),
    Target("compare", _results, _read_result),
    Target("session", _sessions, _read_session, _seal_session),
    Target("lines", _lines, _read_lines),
    Target("request", _requests, _read_request, needs=("fastapi",)),
    Target("upload", _uploads, _read_upload, needs=("fastapi",)),
    Target("posted", _posted, _read_posted, needs=("fastapi", "python_multipart")),
    Target("tf1", _tf1, _read_network, _seal_table),
    Target("keras", _keras, lambda folder: _read_network(_only(folder)), needs=("keras", "h5py")),
    Target("torch", _state_dicts, lambda folder: _read_network(_only(folder))),
)
BY_NAME = {target.name: target for target in TARGETS}
