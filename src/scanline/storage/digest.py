"""Digests of content."""

from __future__ import annotations

import hashlib


def sha256(content: bytes | memoryview) -> str:
    """Return the SHA-256 digest of `content` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
