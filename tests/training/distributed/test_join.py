"""What the processes of a training compare before it starts."""

from __future__ import annotations

import re

import pytest

from scanline.errors import UsageError
from scanline.training.distributed import join
from tests.training.distributed.processes import lines, train_together
from tests.training.distributed.runs import SETTINGS

FACTS = {"torch": "2.13.0", "kernel for float32": "avx512", "device": "cpu"}
HOSTS = ["north", "south", "south"]


def test_equal_facts_are_accepted():
    join._compare([FACTS] * 3, HOSTS, "remedy")


def test_each_different_fact_is_named_with_both_values():
    other = FACTS | {"torch": "2.12.1", "kernel for float32": "avx2"}
    with pytest.raises(UsageError) as caught:
        join._compare([FACTS, FACTS, other], HOSTS, "the remedy")
    assert str(caught.value) == (
        "processes 0 (north) and 2 (south) differ: torch 2.13.0 and 2.12.1, "
        "kernel for float32 avx512 and avx2; the remedy"
    )


def test_a_fact_that_only_one_process_has_is_different():
    with pytest.raises(UsageError, match="extra None and yes"):
        join._compare([FACTS, FACTS | {"extra": "yes"}], HOSTS, "")
    with pytest.raises(UsageError, match="device cpu and None"):
        join._compare([FACTS, {"torch": "2.13.0", "kernel for float32": "avx512"}], HOSTS, "")


def test_the_facts_name_the_code_the_packages_and_the_kernels():
    facts = join._facts("cpu")
    assert facts == join._facts("cpu")
    assert {
        "Scanline's code",
        "torch",
        "numpy",
        "Python",
        "instruction set of torch",
        "device",
    } <= facts.keys()
    assert all(type(value) is str and value for value in facts.values())
    assert any(name.startswith("kernel for ") for name in facts)


def commands(*extra):
    """Return arguments of a short run for two processes, of which the second has another kernel."""
    settings = SETTINGS | {"train.steps": 4, "train.checkpoint_every": 2}
    changes = [f"--set={key}={value}" for key, value in settings.items()]
    return [["digits", "--run", "run", "--device", "cpu", *changes, *extra]] * 2


def test_processes_with_other_kernels_are_refused(tmp_path):
    ended = train_together(tmp_path, *commands(), changes=[{}, {"SCANLINE_KERNEL": "none"}])
    assert [each.code for each in ended] == [2, 2], ended
    (line,) = {line for each in ended for line in lines(each.text)}
    assert re.search(r"processes 0 \(.*\) and 1 \(.*\) differ: .*kernel", line)
    assert line.endswith("or --allow-mixed to train without that guarantee")


def test_processes_with_other_kernels_train_together_if_that_is_accepted(tmp_path):
    ended = train_together(tmp_path, *commands("--allow-mixed"), changes=[{}, {"SCANLINE_KERNEL": "none"}])
    assert [each.code for each in ended] == [0, 0], ended
    assert (tmp_path / "run" / "result.json").exists()
    log = (tmp_path / "run" / "log.txt").read_text()
    assert re.search(r"cannot be repeated to the bit: processes 0 .* differ: .*kernel", log)
