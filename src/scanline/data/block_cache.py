"""Row groups in memory: those that are needed, and those that a thread reads ahead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Block = TypeVar("Block")


class BlockCache(Generic[Block]):
    """Keeps what was read as long as it is expected to be needed.

    Args:
        load: Reads a block by its number; it is called by the reading thread or by the caller of `get`.
        unexpected: Number of blocks that are kept without being expected, the last ones.
    """

    def __init__(self, load: Callable[[int], Block], unexpected: int = 1) -> None:
        self._load, self._unexpected = load, unexpected
        self._blocks: dict[int, Block] = {}
        self._expected: tuple[int, ...] = ()
        self._others: list[int] = []
        self._being_read: set[int] = set()
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def expect(self, numbers: Sequence[int]) -> None:
        """Begin to read blocks that are not there, the first ones first, and drop all others."""
        wanted = tuple(dict.fromkeys(numbers))
        with self._changed:
            if wanted == self._expected:
                return
            self._expected, self._others = wanted, []
            for number in [each for each in self._blocks if each not in wanted]:
                del self._blocks[number]
            self._start()

    def get(self, number: int) -> Block:
        """Return a block, as soon as it is read. Raises what reading it raises."""
        with self._changed:
            # Reading it here, too, would take longer than waiting.
            while number in self._being_read:
                self._changed.wait()
            if number in self._blocks:
                return self._blocks[number]
            self._being_read.add(number)
        try:
            block = self._load(number)
            with self._changed:
                self._keep(number, block)
        finally:
            self._end_reading(number)
        return block

    def _end_reading(self, number: int) -> None:
        with self._changed:
            self._being_read.discard(number)
            self._changed.notify_all()

    def _keep(self, number: int, block: Block) -> None:
        self._blocks[number] = block
        if number in self._expected:
            return
        self._others = [each for each in self._others if each != number] + [number]
        for old in self._others[: -self._unexpected]:
            self._blocks.pop(old, None)
        self._others = self._others[-self._unexpected :]

    def _next(self) -> int | None:
        """Return the first expected block that is neither there nor being read."""
        there = self._blocks.keys() | self._being_read
        return next((each for each in self._expected if each not in there), None)

    def _start(self) -> None:
        """Start the thread, unless it runs or has nothing to read."""
        if self._thread is None and self._next() is not None:
            # A daemon: it must not keep a process alive that has failed.
            self._thread = threading.Thread(target=self._read_ahead, name="row groups", daemon=True)
            self._thread.start()

    def _read_ahead(self) -> None:
        while True:
            with self._changed:
                number = self._next()
                if number is None:
                    self._thread = None
                    return
                self._being_read.add(number)
            try:
                block = self._load(number)
                with self._changed:
                    if number in self._expected:
                        self._blocks[number] = block
                del block  # or it would stay in memory while the next one is read
            except Exception:  # noqa: BLE001 - `get` reads it again and raises the error where it is handled
                with self._changed:
                    self._thread = None
                return
            finally:
                self._end_reading(number)
