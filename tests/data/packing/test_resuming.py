"""A packing that was killed goes on, with the bytes of one that was not."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scanline.data.packed.manifest import read_manifest
from scanline.data.packed.row_groups import encode_row_group
from scanline.data.packing import pack
from scanline.errors import ScanlineError, UsageError
from tests.data.packing.conftest import long_csv

# Kills itself when the function of the module is called for the nth time, before or after it is carried out.
PROGRAM = """
import importlib, os, signal, sys
from scanline.data.packing import pack
source, target, place, number, when = sys.argv[1:]
module, _, name = place.rpartition(":")
owner = importlib.import_module("scanline.data.packing." + module)
*classes, name = name.split(".")
for each in classes:
    owner = getattr(owner, each)
original, calls = getattr(owner, name), []
def counted(*arguments, **named):
    calls.append(0)
    last = len(calls) == int(number)
    if last and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*arguments, **named)
    if last:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(owner, name, counted)
pack(source, target, row_group_mb=1)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """An unsorted long table of 3 MB of values: several chunks and row groups."""
    path = tmp_path_factory.mktemp("source") / "long.csv"
    draw = np.random.default_rng(0)
    header = "id,label," + ",".join(f"x{index}" for index in range(100))
    lines = [
        f"s{row % 500},{row % 500 % 2}," + ",".join(map(str, draw.integers(0, 999, 100)))
        for row in range(7_500)
    ]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def digests(target: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(target.iterdir())}


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory) -> dict[str, str]:
    target = tmp_path_factory.mktemp("whole") / "target"
    pack(str(source), str(target), row_group_mb=1)
    return digests(target)


CAMPAIGN = pytest.mark.campaign  # each starts a process that imports everything


@pytest.mark.parametrize(
    ("place", "number", "when", "stage_is_kept", "row_groups_are_kept"),
    [
        pytest.param("journal:Journal.begin", 1, "after", False, 0, marks=CAMPAIGN),
        ("stage:StageWriter.add", 1, "after", False, 0),
        pytest.param("journal:Journal.set_staged", 1, "before", False, 0, marks=CAMPAIGN),
        pytest.param("journal:Journal.set_staged", 1, "after", True, 0, marks=CAMPAIGN),
        ("journal:Journal.add_row_group", 2, "before", True, 1),
        pytest.param("journal:Journal.add_row_group", 3, "after", True, 3, marks=CAMPAIGN),
        pytest.param("packer:write_manifest", 1, "before", True, 5, marks=CAMPAIGN),
        ("packer:write_manifest", 1, "after", True, 5),
    ],
)
def test_a_killed_packing_goes_on(
    source, whole, tmp_path, monkeypatch, place, number, when, stage_is_kept, row_groups_are_kept
):
    target = tmp_path / "target"
    arguments = [str(source), str(target), place, str(number), when]
    killed = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], check=False, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    assert (target / "manifest.json").exists() == (place == "packer:write_manifest" and when == "after")

    written = []

    def encode(rows):
        written.append(len(rows))
        return encode_row_group(rows)

    monkeypatch.setattr("scanline.data.packing.writing.encode_row_group", encode)
    if stage_is_kept:
        monkeypatch.setattr("scanline.data.packing.packer.read_items", None)  # would fail if it were called
    result = pack(str(source), str(target), row_group_mb=1)
    assert result.resumed
    assert digests(target) == whole
    groups = sum(len(split.row_groups) for split in result.manifest.splits.values())
    assert groups == 5
    assert len(written) == groups - row_groups_are_kept
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_packing_of_other_settings_or_files_is_refused_until_it_is_forced(source, tmp_path, monkeypatch):
    mine, target = tmp_path / "mine.csv", tmp_path / "target"
    long_csv(mine)
    with monkeypatch.context() as patch:
        patch.setattr("scanline.data.packing.packer.write_manifest", None)
        with pytest.raises(TypeError):
            pack(str(mine), str(target))
    with pytest.raises(UsageError, match=r"an unfinished packing with other split is in .*give --force"):
        pack(str(mine), str(target), test=0.5)
    os.utime(mine, ns=(1, 1))
    with pytest.raises(
        UsageError, match=r"an unfinished packing with other source files is in .*give --force"
    ):
        pack(str(mine), str(target))
    assert pack(str(mine), str(target), test=0.5, force=True).manifest.splits["test"].n == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.csv", "target"]


def test_a_packed_data_set_is_replaced_only_if_forced(tmp_path):
    path, target = long_csv(tmp_path / "long.csv"), tmp_path / "target"
    pack(str(path), str(target), row_group_mb=1)
    before = digests(target)
    with pytest.raises(UsageError, match="is a packed data set already: give another --to, or --force"):
        pack(str(path), str(target))
    assert digests(target) == before
    pack(str(path), str(target), test=0, force=True)
    assert sorted(digests(target)) == [
        "manifest.json",
        "train-000000.parquet",
        "train-index.parquet",
        "validation-000000.parquet",
        "validation-index.parquet",
    ]


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_with_other_files_is_never_written(tmp_path, force):
    target = tmp_path / "target"
    target.mkdir()
    (target / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="expected a new or empty folder to pack to, got one with 1 other"):
        pack("digits", str(target), force=force)
    assert (target / "thesis.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_target_within_the_folder_of_the_source(tmp_path, monkeypatch):
    folder = tmp_path / "arrays"
    folder.mkdir()
    np.save(folder / "X.npy", np.zeros((20, 3, 1), np.float32))
    np.save(folder / "y.npy", np.arange(20) % 2)
    with monkeypatch.context() as patch:
        patch.setattr("scanline.data.packing.packer.write_manifest", None)
        with pytest.raises(TypeError):
            pack(str(folder), str(folder / "packed"))
    (folder / "packed" / ".test-000000.parquet.0123.tmp").write_text("of a writer that was killed")
    assert pack(str(folder), str(folder / "packed")).resumed
    assert sorted(path.name for path in folder.iterdir()) == ["X.npy", "packed", "y.npy"]
    assert not any(path.name.endswith(".tmp") for path in (folder / "packed").iterdir())


def test_a_target_that_is_a_file(tmp_path):
    (tmp_path / "target").write_text("mine")
    with pytest.raises(UsageError, match="expected a folder to pack to, got a file"):
        pack("digits", str(tmp_path / "target"))


def test_remains_without_their_temporary_folder(tmp_path, monkeypatch):
    target = tmp_path / "target"
    with monkeypatch.context() as patch:
        patch.setattr("scanline.data.packing.packer.write_manifest", None)
        with pytest.raises(TypeError):
            pack("digits", str(target), temp=tmp_path / "temp")
    with pytest.raises(UsageError, match=r"has files of a packing that did not finish, .* give --force"):
        pack("digits", str(target), temp=tmp_path / "other")
    assert pack("digits", str(target), temp=tmp_path / "other", force=True).resumed is False


def test_two_processes_do_not_pack_to_one_target(tmp_path):
    from filelock import FileLock

    (tmp_path / ".target.packing").mkdir()
    with (
        FileLock(tmp_path / ".target.packing" / "lock"),
        pytest.raises(UsageError, match="another process is packing to it"),
    ):
        pack("digits", str(tmp_path / "target"))


def test_a_record_that_was_cut_off_is_no_row_group(tmp_path, source, whole, monkeypatch):
    target, folder = tmp_path / "target", tmp_path / ".target.packing"
    with monkeypatch.context() as patch:
        patch.setattr("scanline.data.packing.packer.write_manifest", None)
        with pytest.raises(TypeError):
            pack(str(source), str(target), row_group_mb=1)
    record = folder / "row_groups.jsonl"
    record.write_bytes(record.read_bytes()[:-10])
    (target / "test-000000.parquet").unlink(missing_ok=True)
    pack(str(source), str(target), row_group_mb=1)
    assert digests(target) == whole


def limited(size: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Pack in a process whose files cannot grow beyond `size` bytes, as on a full disk."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}));"
        "from scanline.cli import main; sys.argv = ['scanline', 'data', 'pack', *sys.argv[1:]]; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("size", [pytest.param(100, marks=CAMPAIGN), 500_000])
def test_a_full_disk_is_one_line_and_the_packing_goes_on(source, whole, tmp_path, size):
    target = tmp_path / "target"
    arguments = (str(source), "--to", str(target), "--row-group-mb", "1")
    failed = limited(size, *arguments)
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    assert "cannot " in line
    assert "File too large" in line
    assert not (target / "manifest.json").exists()
    assert not target.exists() or not any(path.name.endswith(".tmp") for path in target.iterdir())
    pack(str(source), str(target), row_group_mb=1)
    assert digests(target) == whole


def test_a_target_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ScanlineError, match=r"cannot write .*file"):
        pack("digits", str(tmp_path / "file" / "target"))


def test_the_order_is_a_shuffle_that_depends_on_the_seed_only(tmp_path):
    orders = {}
    for name, seed, memory in (("one", 0, "2GB"), ("two", 0, "1GB"), ("three", 1, "2GB")):
        result = pack("digits", str(tmp_path / name), split=True, split_seed=seed, memory=memory)
        orders[name] = digests(tmp_path / name)["train-000000.parquet"]
        assert result.manifest.shuffled
    assert orders["one"] == orders["two"] != orders["three"]


def test_statistics_in_the_manifest_are_those_of_the_values(source, tmp_path):
    from scanline.data.packed.location import Location
    from scanline.data.packed_data import read_packed

    target = tmp_path / "target"
    pack(str(source), str(target), row_group_mb=1)
    for name, split in read_manifest(Location.parse(str(target))).splits.items():
        values = read_packed(str(target), in_memory=True).splits[name].concatenated.astype(np.float64)
        assert split.statistics.count == [len(values)] * 100
        np.testing.assert_allclose(split.statistics.mean, values.mean(0), rtol=1e-12)
        np.testing.assert_allclose(split.statistics.m2, values.var(0) * len(values), rtol=1e-12)
        assert sum(count for _, _, count in split.lengths.histogram) == split.n


def leave_unfinished(source, target: Path, monkeypatch, **options) -> None:
    """Pack up to the manifest, which is not written."""
    with monkeypatch.context() as patch:
        patch.setattr("scanline.data.packing.packer.write_manifest", None)
        with pytest.raises(TypeError):
            pack(str(source), str(target), row_group_mb=1, **options)


def test_row_groups_that_another_packing_has_replaced_are_written_again(source, tmp_path, monkeypatch):
    target, temp = tmp_path / "target", tmp_path / "temp"
    pack(str(source), str(tmp_path / "whole"), row_group_mb=1)
    leave_unfinished(source, target, monkeypatch, temp=temp)
    leave_unfinished(source, target, monkeypatch, split_seed=1, force=True)
    pack(str(source), str(target), row_group_mb=1, temp=temp)
    assert digests(target) == digests(tmp_path / "whole")


def test_a_data_set_of_another_packing_is_not_reported_as_this_one(source, tmp_path, monkeypatch):
    target, temp = tmp_path / "target", tmp_path / "temp"
    leave_unfinished(source, target, monkeypatch, temp=temp)
    pack(str(source), str(target), row_group_mb=1, split_seed=1, force=True)
    with pytest.raises(UsageError, match="of another packing than the unfinished one"):
        pack(str(source), str(target), row_group_mb=1, temp=temp)
