"""Objects of other packages that cannot be loaded are refused by name."""

from __future__ import annotations

import pytest

from scanline import cells, formats, tasks
from scanline.errors import UsageError


@pytest.mark.parametrize(
    ("kind", "get"), [("cell", cells.get), ("format", formats.registry.get), ("task", tasks.get)]
)
def test_an_object_whose_package_fails_on_import_is_refused_by_name(kind, get, tmp_path, monkeypatch):
    (tmp_path / f"broken_{kind}.py").write_text("raise RuntimeError('no licence')\n")
    described = tmp_path / f"broken_{kind}-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: broken_{kind}\nVersion: 1.0\n")
    points = f"[scanline.{kind}s]\nbroken = broken_{kind}:THING\n"
    (described / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=rf"^{kind} 'broken' cannot be loaded .*RuntimeError: no licence"):
        get("broken")
