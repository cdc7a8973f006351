"""Packs any source into a packed data set: reads, sorts on disk, splits and writes it in bounded memory."""

from __future__ import annotations

from scanline.data.packing.packer import PackResult, pack, pack_request
from scanline.data.packing.request import PackRequest

__all__ = ["PackRequest", "PackResult", "pack", "pack_request"]
