"""Row groups that are kept, dropped and read ahead."""

from __future__ import annotations

import threading
import time

import pytest

from scanline.data.block_cache import BlockCache


class Reader:
    """Counts what is read, and by which thread."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.read: list[int] = []
        self.threads: set[str] = set()
        self.faulty: set[int] = set()
        self.seconds = seconds

    def __call__(self, number: int) -> str:
        time.sleep(self.seconds)
        self.read.append(number)
        self.threads.add(threading.current_thread().name)
        if number in self.faulty:
            raise ValueError(f"block {number}")
        return f"block {number}"


def wait_until(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_the_last_block_is_kept_without_being_expected():
    reader = Reader()
    cache = BlockCache(reader)
    for number in (1, 1, 2, 2, 1):
        assert cache.get(number) == f"block {number}"
    assert reader.read == [1, 2, 1]


def test_expected_blocks_are_read_ahead_in_order_and_once():
    reader = Reader()
    cache = BlockCache(reader)
    cache.expect([3, 1, 2])
    wait_until(lambda: len(reader.read) == 3)
    assert [cache.get(number) for number in (1, 2, 3)] == ["block 1", "block 2", "block 3"]
    assert reader.read == [3, 1, 2]
    assert reader.threads == {"row groups"}


def test_a_block_that_is_being_read_is_waited_for():
    reader = Reader(seconds=0.05)
    cache = BlockCache(reader)
    cache.expect([1, 2, 3])
    assert cache.get(3) == "block 3"
    assert cache.get(1) == "block 1"
    wait_until(lambda: len(reader.read) == 3)
    assert sorted(reader.read) == [1, 2, 3]


def test_blocks_that_are_not_expected_any_more_are_read_again():
    reader = Reader()
    cache = BlockCache(reader)
    cache.expect([1, 2])
    wait_until(lambda: len(reader.read) == 2)
    cache.expect([2, 3])
    wait_until(lambda: len(reader.read) == 3)
    cache.get(2)
    cache.get(1)
    assert reader.read == [1, 2, 3, 1]


def test_a_fault_is_raised_where_the_block_is_needed_and_not_before():
    reader = Reader()
    reader.faulty = {2}
    cache = BlockCache(reader)
    cache.expect([1, 2, 3])
    wait_until(lambda: 2 in reader.read)
    assert cache.get(1) == "block 1"
    with pytest.raises(ValueError, match="block 2"):
        cache.get(2)
    reader.faulty.clear()
    assert cache.get(2) == "block 2"


def test_no_thread_is_left_when_everything_was_read():
    cache = BlockCache(Reader())
    cache.expect([1, 2])
    cache.get(2)
    wait_until(lambda: not any(each.name == "row groups" for each in threading.enumerate()))


def test_many_threads_get_the_same_block():
    reader = Reader(seconds=0.02)
    cache = BlockCache(reader)
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(cache.get(5))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["block 5"] * 8
    assert reader.read == [5]
