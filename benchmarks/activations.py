"""Measure the largest absolute error of each float32 kernel's sigmoid and tanh over all finite floats.

    python benchmarks/activations.py         # a few minutes

The reference is torch in float64.
"""

from __future__ import annotations

import numpy as np
import torch

from scanline.kernels.library import FLOAT32, load

STEP = 2**24


def main() -> None:
    """Print a line for each kernel and function."""
    library = load()
    if library is None:
        raise SystemExit("the native library is not installed")
    for kernel in library.kernels(FLOAT32):
        library.use(FLOAT32, kernel)
        for function in ("sigmoid", "tanh"):
            worst, where, count = 0.0, 0.0, 0
            for first in range(0, 2**32, STEP):
                bits = np.arange(first, first + STEP, dtype=np.uint64).astype(np.uint32)
                x = torch.from_numpy(bits.view(np.float32))
                x = x[x.isfinite()]
                if not len(x):
                    continue
                error = (library.activate(function, x).double() - getattr(x.double(), function)()).abs()
                place = int(error.argmax())
                count += len(x)
                if error[place] > worst or not error[place].isfinite():
                    worst, where = float(error[place]), float(x[place])
            print(f"{kernel:9} {function:8} {worst:.3e} at {where!r}, of {count:,} floats", flush=True)


if __name__ == "__main__":
    main()
