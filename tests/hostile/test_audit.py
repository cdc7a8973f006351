"""A first load imports only the modules of the libraries, as Python's audit events show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.attacks.valid import valid_files

pytest.importorskip("pyarrow")
# Packages that a first load may import besides the standard library.
PACKAGES = {"scanline", "numpy", "torch", "PIL", "pyarrow", "safetensors", "pydantic", "pydantic_core"}
PACKAGES |= {"scipy", "sympy", "mpmath"}  # torch's
PACKAGES |= {"cloudpickle", "pandas", "dateutil", "six", "pytz"}  # PyArrow's own, where they are installed
PACKAGES |= {"olefile", "defusedxml"}  # of Pillow's other plug-ins, none of which opens anything here

PROGRAM = """
import json, sys
from pathlib import Path
import torch._dynamo  # imported by the optimizer of a checkpoint; tries many optional packages
from tests.hostile.loading import LOADERS
imported, others = set(), set()
def note(event, arguments):
    if event == "import":
        imported.add(str(arguments[0]).partition(".")[0])
    elif event in ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen",
                   "socket.connect", "socket.getaddrinfo"):
        others.add(f"{event} {str(arguments)[:200]}")
sys.addaudithook(note)
for each in sys.argv[1:]:
    kind, _, path = each.partition("=")
    LOADERS[kind](Path(path))
imported -= sys.stdlib_module_names
print(json.dumps([sorted(imported), sorted(others)]))
"""


def test_a_first_load_imports_only_the_libraries_of_the_formats_and_starts_nothing(tmp_path):
    files = [f"{kind}={path}" for kind, path in valid_files(tmp_path)]
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *files],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    imported, others = json.loads(ran.stdout)
    assert others == []
    assert set(imported) <= PACKAGES
