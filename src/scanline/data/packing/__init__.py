"""Packs any source into a packed data set: reads, sorts on disk, splits and writes it in bounded memory."""

from __future__ import annotations

from scanline.data.packing.pack import PackResult, pack_source
from scanline.data.packing.request import PackRequest, parse_bytes

__all__ = ["PackRequest", "PackResult", "pack_source", "parse_bytes"]
