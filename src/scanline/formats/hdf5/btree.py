"""Version 1 B-trees, which index the members of groups and the chunks of data sets (section III.A.1)."""

from __future__ import annotations

from scanline.errors import FormatError
from scanline.formats.hdf5.reader import Reader

GROUP_NODE, CHUNK_NODE = 0, 1


class BTrees:
    """Traversal of the B-trees of a file. All traversals together visit a bounded number of entries."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._entries_left = len(reader) // 16  # nodes do not overlap, and an entry takes at least 16 bytes

    def leaves(self, tree: int, kind: int, key_bytes: int) -> list[tuple[int, int]]:
        """Return the entries of the lowest nodes.

        Args:
            tree: Address of the root.
            kind: GROUP_NODE or CHUNK_NODE.
            key_bytes: Size of a key.

        Returns:
            For each entry, where its key begins, and the address that it points to.

        Raises:
            FormatError: If the tree is damaged, or not a tree.
        """
        number = self._reader.number
        leaves: list[tuple[int, int]] = []
        open_nodes, seen = [(tree, -1)], {tree}
        while open_nodes:
            place, expected = open_nodes.pop()
            self._reader.expect(place, b"TREE" + bytes([kind]), "a node of a B-tree")
            level, count = number(place + 5, 1), number(place + 6, 2)
            self._entries_left -= count
            if expected not in (-1, level) or self._entries_left < 0:
                raise FormatError(
                    expected=f"a B-tree node of level {expected} at byte {place:,}",
                    found=f"level {level} with {count:,} entries",
                )
            for index in range(count):
                key = place + 24 + index * (key_bytes + 8)
                child = number(key + key_bytes, 8)
                if child in seen:
                    raise FormatError(expected="a tree", found=f"byte {child:,} twice in it")
                seen.add(child)
                if level == 0:
                    leaves.append((key, child))
                else:
                    open_nodes.append((child, level - 1))
        return leaves
