"""Isolation from the user's data."""

from __future__ import annotations

import pytest


@pytest.fixture
def no_user_data(monkeypatch, tmp_path):
    """Neither the folders of the user nor the network are visible."""
    monkeypatch.delenv("SCANLINE_DATA", raising=False)
    monkeypatch.setenv("SCANLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SCANLINE_OFFLINE", "1")
