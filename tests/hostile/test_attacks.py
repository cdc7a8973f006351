"""Malicious files: each is refused with its name, quickly, in little memory, and nothing in it is run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.attacks import ATTACKS
from tests.hostile.attacks.valid import valid_files

if sys.platform != "linux":
    pytest.skip("memory and time of a load are measured with interfaces of Linux", allow_module_level=True)
pytest.importorskip("pyarrow")

# 0.5 s is promised; a busy machine may take longer, also in processor time.
MAX_SECONDS, MAX_BYTES = 2.0, 100 * 10**6
ROOT = Path(__file__).parents[2]
MARK = Path("/tmp/scanline-was-attacked")
TABLE: list[tuple[str, float, float, str]] = []


class Loading:
    """The loading program."""

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
        report: dict[str, Any] = json.loads(self._process.stdout.readline())
        return report

    def close(self) -> None:
        self._process.communicate()
        assert self._process.returncode == 0


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[tuple[str, Path]]:
    return list(valid_files(tmp_path_factory.mktemp("valid")))


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


def test_a_valid_file_of_every_format_loads_without_forbidden_events(loading, files):
    for kind, path in files:
        report = loading.load(kind, path)
        assert (report["error"], report["text"], report["events"]) == ("", "", []), (kind, path)


@pytest.mark.parametrize("attack", [pytest.param(each, id=each.name) for each in ATTACKS])
def test_a_malicious_file_is_refused_quickly_and_in_little_memory(loading, tmp_path, attack):
    path = attack.write(tmp_path)
    report = loading.load(attack.kind, path)
    TABLE.append(
        (attack.name, report["seconds"], report["bytes"], report["text"].replace(str(tmp_path), "")[:120])
    )
    assert report["error"] == attack.error, report
    assert re.search(attack.message, report["text"]), report["text"]
    assert report["text"].isprintable()
    if attack.error and attack.kind not in ("session", "lines"):  # these have no file
        assert str(tmp_path) in report["text"], report["text"]
    assert report["events"] == []
    assert report["seconds"] < MAX_SECONDS
    assert report["bytes"] < MAX_BYTES
    assert not MARK.exists()
    assert not [each for each in tmp_path.rglob("*") if each.name.startswith("out")]
