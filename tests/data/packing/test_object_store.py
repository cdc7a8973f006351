"""Packing into a bucket: the bytes of a local folder, also if connections break."""

from __future__ import annotations

import pytest

from scanline.data.packed import location
from scanline.data.packing import pack
from scanline.errors import ScanlineError
from tests.data.packing.conftest import long_csv


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(location, "_FIRST_WAIT_S", 0.005)


def test_a_bucket_gets_the_bytes_of_a_folder_and_connections_may_break(object_store, tmp_path):
    path = long_csv(tmp_path / "long.csv", shuffle=True)
    pack(str(path), str(tmp_path / "local"))
    with object_store.through_proxy() as proxy:
        proxy.refuse(1)
        proxy.cut_requests(1, after=600)
        result = pack(str(path), f"{object_store.uri}/packed", temp=tmp_path / "temp")
        assert proxy.broken
    assert result.uri == f"{object_store.uri}/packed"
    for file in (tmp_path / "local").iterdir():
        assert object_store.get(f"packed/{file.name}") == file.read_bytes()
    assert list((tmp_path / "temp").iterdir()) == []


def test_a_bucket_that_refuses_is_one_line_and_the_packing_goes_on(object_store, tmp_path):
    path = long_csv(tmp_path / "long.csv", shuffle=True)
    target = f"{object_store.uri}/packed"
    with object_store.through_proxy() as proxy:
        real, calls = location.Location.write, []

        def refuse_the_second(self, name, content):
            calls.append(name)
            if len(calls) == 2:
                proxy.answer("403 Forbidden", "AccessDenied")
            real(self, name, content)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(location.Location, "write", refuse_the_second)
            with pytest.raises(ScanlineError, match=r"^cannot write s3://\S+\.parquet: access denied"):
                pack(str(path), target, temp=tmp_path / "temp")
    assert "packed/manifest.json" not in object_store.object_names()
    assert pack(str(path), target, temp=tmp_path / "temp").resumed
    assert "packed/manifest.json" in object_store.object_names()
