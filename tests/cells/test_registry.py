"""The registry of cells: names, lookups, and cells of other packages."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scanline import cells
from scanline.errors import UsageError

PACKAGE = """
from scanline.cells import Cell

def step(inputs, states, weights, intervention):
    return {"h": intervention.output(0.5 * states[0] + inputs + weights.from_state(states[0]))}

HALF = Cell(name="half", title="Half", gates=("h",), states=("h",), traced=("h",), step=step)
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install a package that declares the given entry points; returns the function that does so."""

    def install(**points: str) -> None:
        (tmp_path / "half_package.py").write_text(PACKAGE)
        described = tmp_path / "half_package-1.0.dist-info"
        described.mkdir()
        (described / "METADATA").write_text("Metadata-Version: 2.1\nName: half_package\nVersion: 1.0\n")
        lines = [f"{name} = {value}\n" for name, value in points.items()]
        (described / "entry_points.txt").write_text("[scanline.cells]\n" + "".join(lines))
        monkeypatch.syspath_prepend(tmp_path)

    yield install
    sys.modules.pop("half_package", None)
    cells._load.cache_clear()


def test_the_built_in_cells_are_listed_first():
    assert cells.names()[:3] == ("lstm", "gru", "rnn")
    assert [cells.get(name).name for name in ("lstm", "gru", "rnn")] == ["lstm", "gru", "rnn"]


def test_an_unknown_name_is_refused_with_the_legal_ones():
    with pytest.raises(UsageError, match=r"one of lstm, gru, rnn.*got 'lstn'; did you mean 'lstm'\?"):
        cells.get("lstn")


def test_importing_the_cells_does_not_import_torch():
    code = "import sys, scanline.cells as c; c.get('lstm'); c.names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_package_adds_a_cell_through_its_entry_point(package):
    package(half="half_package:HALF")
    assert "half" in cells.names()
    assert cells.get("half").title == "Half"
    with pytest.raises(UsageError, match="half"):
        cells.get("other")


def test_a_package_cannot_replace_a_built_in_cell(package):
    package(lstm="half_package:HALF")
    assert cells.names().count("lstm") == 1
    assert cells.get("lstm").title == "LSTM"


@pytest.mark.parametrize(
    ("name", "value", "fragment"),
    [
        ("half", "half_package:ABSENT", "cannot be loaded from half_package:ABSENT"),
        ("half", "absent_package:HALF", "cannot be loaded from absent_package:HALF"),
        ("half", "half_package:step", r"expected half_package:step to be a scanline\.cells\.Cell"),
        ("whole", "half_package:HALF", r"expected half_package:HALF to be a scanline\.cells\.Cell"),
    ],
)
def test_an_entry_point_that_is_no_such_cell_is_refused(package, name, value, fragment):
    package(**{name: value})
    with pytest.raises(UsageError, match=fragment):
        cells.get(name)
