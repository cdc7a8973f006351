"""Malicious files of every format, written on demand, with the error that each must raise."""

from __future__ import annotations

from tests.hostile.attacks import (
    arrays,
    descriptions,
    idx_files,
    networks,
    pictures,
    settings,
    tables,
    weights,
)
from tests.hostile.attacks.base import Attack

ATTACKS: tuple[Attack, ...] = (
    *arrays.ATTACKS,
    *idx_files.ATTACKS,
    *tables.ATTACKS,
    *pictures.ATTACKS,
    *descriptions.ATTACKS,
    *weights.ATTACKS,
    *networks.ATTACKS,
    *settings.ATTACKS,
)
