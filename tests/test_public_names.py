"""The public names of the package, and the printed form of a model."""

from __future__ import annotations

import subprocess
import sys

import scanline


def test_dir_shows_the_public_names_only():
    assert dir(scanline) == sorted(scanline.__all__)
    assert all(hasattr(scanline, name) for name in scanline.__all__)


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(scanline, "Bundle")


def test_importing_scanline_does_not_import_torch():
    code = "import sys, scanline; dir(scanline); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_printed_model_is_three_lines(trained):
    network, task, provenance = str(scanline.load(trained)).splitlines()
    assert network.startswith("LSTM: 1 layer of 128 units, last pooling, ")
    assert task == (
        "Classification, 10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; input: pictures of 8 x 8 pixels as rows"
    )
    assert provenance.startswith("trained by Scanline on digits, recipe digits, seed 0; test accuracy 0.")
