"""An open HDF5 file."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from scanline.errors import FormatError
from scanline.formats.hdf5.attributes import text_attribute
from scanline.formats.hdf5.btree import BTrees
from scanline.formats.hdf5.datasets import Dataset, describe, read_values
from scanline.formats.hdf5.groups import Groups, Members
from scanline.formats.hdf5.headers import ATTRIBUTE, LINK, LINK_INFO, SYMBOL_TABLE, Headers
from scanline.formats.hdf5.reader import Reader

SIGNATURE = b"\x89HDF\r\n\x1a\n"


class Hdf5:
    """An open file. Objects are identified by the address of their header.

    Attributes:
        root: Address of the root group.
    """

    def __init__(self, data: bytes | mmap.mmap) -> None:
        """Read the superblock (section II.A).

        Raises:
            FormatError: If the bytes do not begin like HDF5.
        """
        reader = Reader(data)
        reader.expect(0, SIGNATURE, "HDF5's signature")
        version = reader.number(8, 1)
        if version > 3:
            raise FormatError(expected="a superblock of version 0 to 3", found=version)
        old = 4 * version  # version 1 has 4 bytes more than version 0
        # Offsets of the fields that are read: versions 0 and 1 have another layout than 2 and 3.
        sizes, base, root = (13, 24 + old, 64 + old) if version < 2 else (9, 12, 36)
        reader.expect(sizes, b"\x08\x08", "addresses and sizes of 8 bytes each")
        reader.expect(base, bytes(8), "addresses from the first byte on")
        self.root = reader.number(root, 8)
        self._reader, self._headers, self._trees = reader, Headers(reader), BTrees(reader)
        self._groups = Groups(reader, self._headers, self._trees)

    def members(self, group: int) -> Members:
        """Return the addresses of the members of a group by name, None for a link to elsewhere."""
        return self._groups.members(group)

    def is_group(self, address: int) -> bool:
        """Return whether an object is a group, not a data set."""
        kinds = (SYMBOL_TABLE, LINK, LINK_INFO)
        return any(each.kind in kinds for each in self._headers.messages(address))

    def text(self, address: int, name: str, limit: int) -> bytes | None:
        """Return the attribute `name` of an object, which must be one text of at most `limit` bytes.

        Returns:
            The text without zero bytes at its end, or None if there is no such attribute.

        Raises:
            FormatError: If the attribute is something else.
        """
        for message in self._headers.messages(address):
            if message.kind == ATTRIBUTE:
                text = text_attribute(self._reader, message, name, limit)
                if text is not None:
                    return text
        return None

    def data_set(self, address: int) -> Dataset:
        """Return the description of a data set; errors as for `datasets.describe`."""
        return describe(self._reader, self._headers, address)

    def read(self, dataset: Dataset, limit: int) -> NDArray[np.floating]:
        """Return the values of a data set; errors as for `datasets.read_values`."""
        return read_values(self._reader, self._trees, dataset, limit)
