"""HDF5 as h5py writes it: groups, text attributes and arrays of floating-point numbers.

The HDF5 library is not made for untrusted or damaged files. Version 2.0 believes the length that a
reference to a text gives, up to 4 GiB; it never returns from a heap with an object of 0 bytes; and it takes
all memory along a cyclic free list. Here no memory is taken that the bytes of the file do not account for,
every traversal ends, no link leads out of the file, and no header, group or table is read twice.

Supported are superblocks 0 to 3, object headers 1 and 2, symbol tables and link messages, and data sets
that are compact, contiguous, or chunked with a version 1 B-tree, uncompressed or with gzip. Everything else
is refused by name. Comments give the sections of the HDF5 File Format Specification 3.0.
"""

from __future__ import annotations

from scanline.formats.hdf5.datasets import Dataset
from scanline.formats.hdf5.file import SIGNATURE, Hdf5

__all__ = ["SIGNATURE", "Dataset", "Hdf5"]
