"""How the threads of OpenMP, on which torch computes, wait for work. Does not import torch.

By default they wait actively for about three milliseconds after each operation. Beside another busy program
that takes the core from threads that have work, and a training step takes many times as long. OpenMP reads
its environment when torch is imported, so only a program that has not imported torch yet can choose.
"""

from __future__ import annotations

import os
import sys

# About 20 microseconds, as long as it takes to wake a sleeping thread.
SPINS = 1000


def spin_limit() -> dict[str, str]:
    """Return the environment variable that limits active waiting; empty if the user has chosen otherwise."""
    chosen = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys()
    return {} if chosen else {"GOMP_SPINCOUNT": str(SPINS)}


def limit_spinning() -> None:
    """Let the threads of OpenMP wait actively only for microseconds, unless the user has chosen otherwise.

    For programs of Scanline's own, before they import torch; a library must not change the environment of
    the program that uses it.
    """
    if "torch" not in sys.modules:
        os.environ.update(spin_limit())


def spins_for_long() -> bool:
    """Return whether the environment lets threads of OpenMP wait actively for longer than `SPINS`."""
    # As libgomp reads it: GOMP_SPINCOUNT is a number, with a factor of 1,000 per step of k, M, G, T, or
    # "infinite"; it takes precedence over OMP_WAIT_POLICY.
    spins = os.environ.get("GOMP_SPINCOUNT", "").strip()
    if spins.isdecimal():
        return int(spins) > SPINS
    return bool(spins) or os.environ.get("OMP_WAIT_POLICY", "").strip().lower() != "passive"
