"""A short run of `make fuzz`: earlier faults, and some changed files for every reader."""

from __future__ import annotations

import functools
from random import Random

import pytest

from fuzz import execution
from fuzz.targets import BY_NAME, TARGETS, Target

ENDLESS_S = 30.0  # the first input of a process imports most modules
# Changed files a reader; those that train, draw or compare take as long as many others.
MANY, COUNTS = 100, {"run": 8, "compare": 10, "resume": 30, "folders": 40, "csv": 60}
KEPT = [(name, digest) for name in BY_NAME for digest in execution.load_inputs(execution.SEEDS / name)]


@functools.cache
def seeds(target: Target) -> list:
    return target.seeds()


def target_of(name: str) -> Target:
    target = BY_NAME[name]
    if missing := target.missing():
        pytest.skip(f"{missing} is not installed")
    return target


def read(target: Target, files, folder) -> None:
    outcome = execution.attempt(target, files, folder, ENDLESS_S)
    if outcome.fault is not None:
        pytest.fail(
            f"{outcome.fault}\n{outcome.trace}\n{execution.save_input(files, execution.FAULTS / target.name)}"
        )


@pytest.mark.parametrize(("name", "digest"), KEPT)
def test_earlier_faults_are_read_or_refused(name, digest, tmp_path):
    read(target_of(name), execution.load_inputs(execution.SEEDS / name)[digest], tmp_path / "it")


@pytest.mark.parametrize("name", [target.name for target in TARGETS])
def test_changed_files_are_read_or_refused(name, tmp_path):
    target, rng, files = target_of(name), Random(name), {}
    for turn in range(COUNTS.get(name, MANY)):
        if turn % 3 == 0:  # otherwise mutate the last file further
            files = rng.choice(seeds(target))
        files = execution.mutate(target, files, seeds(target), rng) or files
        read(target, files, tmp_path / "it")


def test_failures_hangs_and_refusals_of_a_reader_are_distinguished(tmp_path):
    def fails(folder):
        raise KeyError("x")

    def refuses(folder):
        raise execution.ScanlineError("no")

    def hangs(folder):
        while True:
            pass

    def tried(read) -> str | None:
        return execution.attempt(Target("it", list, read), {"a/b": b"c"}, tmp_path / "it", 0.1).fault

    assert tried(refuses) is None
    assert tried(lambda folder: (folder / "a/b").read_bytes()) is None
    assert tried(fails).startswith("KeyError at ")
    assert tried(hangs).startswith("Hang at ")


def test_files_are_packed_and_unpacked_and_kept(tmp_path):
    files = {"a": b"", "b/c": b"\0\xff" * 3}
    assert execution.unpack(execution.pack(files)) == files
    assert [execution.unpack(each) for each in (b"", b"\0", b"\0\0\0\1a", execution.pack(files)[:-1])] == [
        None
    ] * 4
    folder = execution.save_input(files, tmp_path)
    assert execution.load_inputs(tmp_path) == {folder.name: files}


def test_a_seed_repeats_its_changes():
    target = BY_NAME["npz"]
    one, other = (
        [execution.mutate(target, seeds(target)[0], seeds(target), Random(n)) for n in range(50)]
        for _ in "ab"
    )
    assert one == other
