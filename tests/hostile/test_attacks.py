"""A collection of files that are made to do harm: each is refused by name, soon, in little memory, unrun."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.attacks import ATTACKS, sound

if sys.platform != "linux":
    pytest.skip("memory and time of a load are measured as Linux tells them", allow_module_level=True)
pytest.importorskip("pyarrow")

# What is promised is 0.5 s; a machine that others use at the same time may take longer.
MOST_SECONDS, MOST_BYTES = 2.0, 100 * 10**6
ROOT = Path(__file__).parents[2]
MARK = Path("/tmp/scanline-was-attacked")
TABLE: list[tuple[str, float, float, str]] = []


class Loading:
    """The program that loads."""

    def __init__(self, warm: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.loading", *warm],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def load(self, kind: str, path: Path) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps({"kind": kind, "path": str(path)}), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate()
        assert self._process.returncode == 0


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[tuple[str, Path]]:
    return list(sound(tmp_path_factory.mktemp("sound")))


@pytest.fixture(scope="module")
def loading(files):
    program = Loading([f"{kind}={path}" for kind, path in files])
    yield program
    program.close()
    if TABLE:
        lines = [f"| {name} | {1000 * s:.0f} | {b / 10**6:.1f} | {text} |" for name, s, b, text in TABLE]
        slowest, largest = max(row[1] for row in TABLE), max(row[2] for row in TABLE)
        print(f"\n{len(TABLE)} attacks, at most {slowest:.3f} s and {largest / 10**6:.1f} MB")
        if out := os.environ.get("SCANLINE_ATTACKS_TABLE"):
            Path(out).write_text("\n".join(lines) + "\n")


def test_a_sound_file_of_every_format_is_loaded_and_nothing_else_happens(loading, files):
    for kind, path in files:
        told = loading.load(kind, path)
        assert (told["error"], told["text"], told["events"]) == ("", "", []), (kind, path)


# `files.read_json` waits for whoever writes into a pipe.


@pytest.mark.parametrize("attack", [pytest.param(each, id=each.name) for each in ATTACKS])
def test_a_file_made_to_do_harm_is_refused_soon_and_in_little_memory(loading, tmp_path, attack):
    path = attack.write(tmp_path)
    told = loading.load(attack.kind, path)
    TABLE.append((attack.name, told["seconds"], told["bytes"], told["text"].replace(str(tmp_path), "")[:120]))
    assert told["error"] == attack.error, told
    assert re.search(attack.says, told["text"]), told["text"]
    assert told["text"].isprintable()
    if attack.error and attack.kind not in ("session", "lines"):  # those come from no file
        assert str(tmp_path) in told["text"], told["text"]
    assert told["events"] == []
    assert told["seconds"] < MOST_SECONDS
    assert told["bytes"] < MOST_BYTES
    assert not MARK.exists()
    assert not [each for each in tmp_path.rglob("*") if each.name.startswith("out")]
