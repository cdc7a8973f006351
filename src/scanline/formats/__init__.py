"""File formats: bytes to arrays. This package knows nothing of Scanline's data sets, models and runs.

Parsers take limits from `scanline.limits` and raise `FormatError` with the file, the place, what was expected
and what was found. The registry of sequence formats is `scanline.formats.registry`.
"""

from __future__ import annotations

from scanline.formats.registry import SequenceFormat, for_path, get, names, suffixes

__all__ = ["SequenceFormat", "for_path", "get", "names", "suffixes"]
