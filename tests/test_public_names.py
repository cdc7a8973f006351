"""The public names of the package, and the printed form of a model."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import scanline
from scanline.errors import ScanlineError


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


def test_messages_of_python_functions_name_no_options(trained, tmp_path):
    unfinished, model = tmp_path / "run", scanline.load(trained)
    unfinished.mkdir()
    (unfinished / "recipe.toml").write_text("")
    wrong = np.full((1, 8, 8), np.nan)
    calls = (
        (lambda: scanline.load(unfinished), f"`scanline.train\\(resume='{unfinished}'\\)`"),
        (lambda: scanline.report(trained / "model"), "name the file with output='FILE.html'"),
        (lambda: model.stream().feed(wrong[0]), "the model was trained with input.missing=error"),
        (lambda: model.evaluate(trained / "nothing"), "nothing"),
    )
    for call, expected in calls:
        with pytest.raises(ScanlineError, match=expected) as caught:
            call()
        assert " --" not in str(caught.value)
