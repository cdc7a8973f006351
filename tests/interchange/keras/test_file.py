"""Files that mean harm, or are damaged, are refused before they do any."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from scanline.interchange.keras.read import read_keras
from tests.interchange.keras_models import (
    QUIET,
    WEIGHTS,
    H,
    chain,
    keras,
    members,
    packed,
    read_or_refused,
    refused,
)

pytestmark = pytest.mark.filterwarnings(QUIET)


@pytest.fixture
def weighted(saved, tmp_path):
    """The model, with its HDF5 part changed: weighted(edit, ending) -> path."""

    def change(edit: Callable[[Any], Any], ending: str = "keras") -> Path:
        parts = members(saved["keras"])
        content = io.BytesIO(saved["h5"] if ending == "h5" else parts[WEIGHTS])
        with h5py.File(content, "r+") as file:
            edit(file)
        path = tmp_path / f"it.{ending}"
        if ending == "h5":
            path.write_bytes(content.getvalue())
            return path
        return packed(parts | {WEIGHTS: content.getvalue()}, path)

    return change


def parts_of(file: Any) -> tuple[Any, str]:
    """The group and the name of the GRU's recurrent kernel."""
    if "layers" in file:
        return file["layers/gru/cell/vars"], "1"
    group = next(file["model_weights"][name] for name in file["model_weights"] if name.startswith("gru"))
    path = next(each for each in group.attrs["weight_names"] if each.endswith("recurrent_kernel"))
    return group[path.rpartition("/")[0]], "recurrent_kernel"


def elsewhere(link: Any) -> Callable[[Any], None]:
    def edit(file: Any) -> None:
        group, name = parts_of(file)
        del group[name]
        group[name] = link

    return edit


def instead(*values_: Any, **how: Any) -> Callable[[Any], None]:
    def edit(file: Any) -> None:
        group, name = parts_of(file)
        del group[name]
        group.create_dataset(name, *values_, **how)

    return edit


def virtual(file: Any) -> None:
    group, name = parts_of(file)
    del group[name]
    layout = h5py.VirtualLayout((H, 3 * H), np.float32)
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (H, 3 * H))
    group.create_virtual_dataset(name, layout)


def without(file: Any) -> None:
    group, name = parts_of(file)
    del group[name]


FULL = np.ones((H, 3 * H), np.float32)
WEIGHT_EDITS: list[tuple[Callable[[Any], Any], str]] = [
    (
        elsewhere(h5py.ExternalLink("/etc/passwd", "/x")),
        "is a link to elsewhere, which is not followed; save it",
    ),
    (elsewhere(h5py.SoftLink("/layers/gru/cell/vars/0")), "is a link to elsewhere, which is not followed"),
    (virtual, "its values are those of other data sets, which is refused; save it again"),
    (
        instead((H, 3 * H), np.float32, external=[("/etc/passwd", 0, 192)]),
        "its values are in another file, which is refused",
    ),
    (
        instead(data=FULL, compression="lzf"),
        "packed by HDF5's filter 32000; expected gzip or none; save it again",
    ),
    (
        instead(data=FULL.astype(np.int32)),
        "recurrent_kernel: expected floating-point numbers, found whole numbers",
    ),
    (instead(data=FULL.astype(np.complex64)), "expected floating-point numbers, found something else of 8"),
    (instead(data="text"), "expected floating-point numbers, found lists or text of 16"),
    (instead(data=FULL.T), r"recurrent_kernel: expected shape \(4, 12\), found \(12, 4\)"),
    (instead(data=h5py.Empty(np.float32)), r"recurrent_kernel: expected shape \(4, 12\), found None"),
    (instead((H, 3 * H), np.float32), "expected 192 bytes of values, found 0 in the file; save it again"),
    (
        instead((H, 3 * H), np.float32, chunks=True, compression="gzip"),
        "expected 192 bytes in 1 chunks, found 0 in 0",
    ),
    (
        instead(data=FULL, chunks=(2**13, 2**12), maxshape=(None, None), compression="gzip"),
        r"expected 192 bytes in 1 chunks, found [\d,]+ in 1",
    ),
    (
        instead(data=np.where(FULL.cumsum() == 7, np.nan, 1).reshape(FULL.shape)),
        r"recurrent_kernel of layer 'gru\w*': expected finite numbers that float32 can hold, found 1 of 48",
    ),
    (instead(data=FULL.astype(np.float64) * 1e300), "expected finite numbers .* found 48 of 48"),
    (without, "expected|found none"),
]


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize(("edit", "message"), WEIGHT_EDITS)
def test_missing_weights_and_paths_outside_are_refused(weighted, edit, message, ending):
    refused(weighted(edit, ending), message)


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("how", [{"compression": "gzip"}, {"compression": "gzip", "shuffle": True}])
def test_weights_may_be_packed_with_gzip_and_in_any_order_of_bytes(weighted, how, ending):
    numbers = np.arange(48).reshape(H, 3 * H).astype(">f8") / 48
    weights = read_keras(weighted(instead(data=numbers, **how), ending)).weights
    # Keras' z, r, h stand side by side, ours r, z, n one below the other.
    z, r, h = np.split(numbers.astype(np.float32).T, 3)
    np.testing.assert_array_equal(weights["recurrent.weight_hh_l0"], np.concatenate([r, z, h]))


def in_gru(edit: Callable[[Any], Any]) -> Callable[[Any], None]:
    """An edit of the group of the GRU's weights in an .h5 file."""

    def change(file: Any) -> None:
        edit(next(file["model_weights"][name] for name in file["model_weights"] if name.startswith("gru")))

    return change


def emptied(group: Any) -> Any:
    for name in list(group):
        del group[name]
    return group


def only(*names: str) -> Callable[[Any], None]:
    def edit(group: Any) -> None:
        emptied(group)
        for name in names:
            group[name] = FULL

    return edit


def ring(group: Any) -> None:
    emptied(group)["round"] = group


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (in_gru(emptied), "expected the weights of 1 cells, found those of none"),
        (in_gru(only("a/kernel")), "expected kernel, recurrent_kernel, bias, found kernel"),
        (in_gru(only("kernel_v")), "expected kernel, recurrent_kernel, bias, found kernel_v"),
        (in_gru(only("a/kernel", "b/kernel")), "expected the weights of 1 cells, found those of a, b"),
        (in_gru(only("kernel", "kernel:0")), "expected one weight of each name, found two 'kernel'"),
        (in_gru(only(*(f"{index}/kernel" for index in range(300)))), "expected at most 256 names below it"),
        (in_gru(ring), "expected at most 256 names below it, found more"),
        (
            lambda f: f.attrs.pop("model_config"),
            "does not say what model its weights belong to: expected the",
        ),
        (lambda f: f.attrs.update(model_config=7), "expected model_config to be one text, found whole"),
        (lambda f: f.attrs.update(model_config=["a", "b"]), "expected model_config to be one text"),
        (lambda f: f.attrs.update(model_config="{"), "model_config is not valid JSON"),
        (lambda f: f.attrs.update(model_config=b"\xff{}"), "model_config is not valid JSON"),
        (lambda f: f.pop("model_weights"), "expected 'model_weights' among the weights, found none"),
        (
            lambda f: (f.pop("model_weights"), f.update(model_weights=h5py.SoftLink("/"))),
            "is a link to elsewhere",
        ),
    ],
)
def test_an_h5_file_whose_names_lead_astray_is_refused(weighted, edit, message):
    refused(weighted(edit, "h5"), message)


def test_a_file_of_weights_alone_is_refused(tmp_path):
    model = keras.Sequential(chain())
    model.save_weights(tmp_path / "it.weights.h5")
    refused(tmp_path / "it.weights.h5", "does not say what model its weights belong")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda m: m.pop("config.json"),
            "expected one config.json in the archive, found none; save it again",
        ),
        (lambda m: m.pop(WEIGHTS), f"expected one {WEIGHTS} in the archive, found none"),
        (
            lambda m: m.update({"model.weights.npz": m.pop(WEIGHTS)}),
            "found none and model.weights.npz, which is not read",
        ),
        (lambda m: m.update({WEIGHTS: b""}), "is damaged: its HDF5 part cannot be read"),
        (lambda m: m.update({"config.json": b"\xff\xfe\x00"}), "is damaged: config.json is not valid JSON"),
        (
            lambda m: m.update({"config.json": b"[1]"}),
            r"expected config.json to be an object, .* found \[1\]",
        ),
        (lambda m: m.update({"config.json": b'{"a":' + b"[" * 10**5}), "config.json is not valid JSON"),
        (lambda m: m.update({"config.json": b'{"a":' + b"[" * 150 + b"]" * 150 + b"}"}), "at most 100 deep"),
        (lambda m: m.update({"config.json": b" " * (3 * 2**20 + 1)}), "SCANLINE_LIMIT_JSON_BYTES"),
        (lambda m: m.update({"metadata.json": b"{"}), "metadata.json is not valid JSON"),
    ],
)
def test_an_archive_with_something_else_in_it_is_refused(saved, tmp_path, edit, message):
    parts = members(saved["keras"])
    edit(parts)
    refused(packed(parts, tmp_path / "it.keras"), message)


def test_an_archive_without_metadata_is_read(saved, tmp_path):
    parts = members(saved["keras"])
    del parts["metadata.json"]
    network = read_keras(packed(parts, tmp_path / "it.keras"))
    assert network.made == "imported from the Keras model it.keras"


def test_an_invalid_version_is_left_out(saved, tmp_path):
    parts = members(saved["keras"]) | {"metadata.json": b'{"keras_version": "3\\n\\u001b[31mrm -rf"}'}
    assert read_keras(packed(parts, tmp_path / "it.keras")).made == "imported from the Keras model it.keras"


def test_an_archive_may_be_deflated_and_nothing_else(saved, tmp_path):
    parts = members(saved["keras"])
    read_keras(packed(parts, tmp_path / "it.keras", compression=zipfile.ZIP_DEFLATED))
    packed(parts, tmp_path / "it.keras", compression=zipfile.ZIP_BZIP2)
    refused(tmp_path / "it.keras", "config.json must be stored or deflated and in the clear; save it again")


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(saved, tmp_path):
    parts = members(saved["keras"]) | {WEIGHTS: bytes(2**27)}
    packed(parts, tmp_path / "it.keras", compression=zipfile.ZIP_DEFLATED)
    refused(
        tmp_path / "it.keras",
        f"{WEIGHTS}: expected [\\d,]+ packed bytes to become at most [\\d,]+, found 134,217,728",
    )


def test_two_members_of_one_name_are_refused(saved, tmp_path):
    parts = members(saved["keras"])
    packed(parts, tmp_path / "it.keras")
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(tmp_path / "it.keras", "a") as archive,
    ):
        archive.writestr("config.json", parts["config.json"])
    refused(tmp_path / "it.keras", "expected members of different names, found 'config.json' twice")


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "C:\\out", "layers/../../out"])
def test_an_archive_whose_members_would_leave_its_folder_is_refused(saved, tmp_path, name):
    parts = members(saved["keras"]) | {name: b"x"}
    (tmp_path / "in").mkdir()
    refused(packed(parts, tmp_path / "in" / "it.keras"), "would leave its folder")
    assert [each.name for each in tmp_path.rglob("*")] == ["in", "it.keras"]


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"GIF89a, or anything", bytes(99)]
)
def test_what_is_no_model_is_refused(tmp_path, content):
    (tmp_path / "it.keras").write_bytes(content)
    refused(tmp_path / "it.keras", r"is no Keras model: expected a ZIP archive \(.keras\) or HDF5|is damaged")


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path):
    refused(tmp_path / "it.keras", r"there is no .*it.keras; expected a Keras model \(.keras, .h5\)")
    (tmp_path / "it.h5").mkdir()
    refused(tmp_path / "it.h5", "cannot read .*it.h5: Is a directory")


def test_neither_keras_nor_h5py_is_needed(saved, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setitem(sys.modules, "h5py", None)
    for ending in ("keras", "h5"):
        (tmp_path / f"it.{ending}").write_bytes(saved[ending])
        assert read_keras(tmp_path / f"it.{ending}").architecture.cell == "gru"


@pytest.mark.parametrize("ending", ["keras", "h5", "inner"])
@hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)
@hypothesis.given(data=st.data())
def test_any_mutation_of_a_good_file_is_read_or_refused(saved, tmp_path, ending, data):
    inner = ending == "inner"  # the HDF5 part of an archive whose sums are right
    parts = members(saved["keras"])
    content = bytearray(parts[WEIGHTS] if inner else saved[ending])
    for _ in range(data.draw(st.integers(0, 4), label="mutations")):
        content[data.draw(st.integers(0, len(content) - 1), label="at")] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans(), label="cut"):
        del content[data.draw(st.integers(0, len(content)), label="cut at") :]
    path = tmp_path / "bad.keras"
    if inner:
        packed(parts | {WEIGHTS: bytes(content)}, path)
    else:
        path.write_bytes(content)
    read_or_refused(path)
