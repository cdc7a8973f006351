"""The same 2,000 pictures in every format: the same sequences, and the same weights after training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scanline.data import catalogue as catalog
from scanline.storage.digest import sha256
from scanline.training.run import TrainingRun

pa = pytest.importorskip("pyarrow")
TRAIN, TEST = 1600, 400


@pytest.fixture(scope="module")
def pictures(mnist) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(images (N, 28, 28), labels (N,)) of 2,000 of MNIST's digits, in the order of their classes."""
    parts = {}
    for name, split, count in (("train", mnist.train, TRAIN), ("test", mnist.test, TEST)):
        labels = split.targets[:count]
        order = np.argsort(labels, kind="stable")
        parts[name] = split.values[:count][order], labels[order]
    return parts


def write_idx(folder: Path, pictures) -> Path:
    folder.mkdir()
    for name, (images, labels) in zip(("train", "t10k"), pictures.values(), strict=True):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{name}-{kind}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
    return folder


def write_png(folder: Path, pictures) -> Path:
    for name, (images, labels) in pictures.items():
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            (folder / name / str(label)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / name / str(label) / f"{number}.png")
    return folder


def table(images, labels):
    cells = images.reshape(len(images), -1)
    columns = {"label": labels} | {f"pixel{index}": cells[:, index] for index in range(cells.shape[1])}
    return pa.table(columns)


def write_csv(folder: Path, pictures) -> Path:
    from pyarrow.csv import write_csv

    folder.mkdir()
    for name, data in pictures.items():
        write_csv(table(*data), folder / f"{name}.csv")
    return folder


def write_parquet(folder: Path, pictures) -> Path:
    from pyarrow.parquet import write_table

    folder.mkdir()
    for name, data in pictures.items():
        write_table(table(*data), folder / f"digits_{name.upper()}.parquet")
    return folder / "digits"


def write_npz(folder: Path, pictures) -> Path:
    folder.mkdir()
    arrays = {f"X_{name}": images for name, (images, _) in pictures.items()}
    arrays |= {f"y_{name}": labels for name, (_, labels) in pictures.items()}
    np.savez(folder / "digits.npz", **arrays)
    return folder / "digits.npz"


WRITERS = {"png": write_png, "csv": write_csv, "parquet": write_parquet, "npz": write_npz}


def trained(source: Path, run: Path) -> tuple[dict[str, str], str, str]:
    """Digests of the parts as they were read, of the optimiser's last state, and of the weights."""
    settings = {"train.samples": 0, "train.steps": 60, "model.hidden_size": 32}
    experiment = TrainingRun.begin(str(source), settings=settings, run=run, device="cpu")
    for _ in experiment.events():
        pass
    digests = {name: split.fingerprint() for name, split in experiment.data.splits.items()}
    last = run / "checkpoints" / "step-000060"
    names = (last / "optimizer.safetensors", run / "model" / "model.safetensors")
    return digests, *(sha256(path.read_bytes()) for path in names)


@pytest.fixture(scope="module")
def reference(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("idx")
    return trained(write_idx(folder / "idx", pictures), folder / "run")


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_pictures_give_the_same_sequences_and_weights(name, pictures, reference, tmp_path):
    result = trained(WRITERS[name](tmp_path / name, pictures), tmp_path / "run")
    assert result[0].keys() == {"train", "validation", "test"}
    assert result == reference


def test_splits_have_the_pictures_that_were_written(pictures, tmp_path):
    data = catalog.load(str(write_png(tmp_path / "png", pictures)))
    images, labels = pictures["test"]
    assert np.array_equal(data.test.values, images)
    assert np.array_equal(data.test.targets, labels)
    assert len(data.train) + len(data.validation) == TRAIN


@pytest.mark.parametrize("view", ["rows", "columns", "patches:4", "permuted", "pixels"])
def test_every_view_is_one_word_on_the_command_line(scanline, pictures, tmp_path, view):
    source = write_npz(tmp_path / "npz", pictures)
    steps = ("--set", "train.samples=0", "--set", "train.steps=3", "--set", "model.hidden_size=8")
    code, out, err = scanline("train", source, "--view", view, "--run", tmp_path / "run", *steps)
    assert code == 0, err
    assert out.startswith("test: ")
    code, out, _ = scanline("evaluate", tmp_path / "run", "--json")
    assert code == 0
    assert '"n": 400' in out
