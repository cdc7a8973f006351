"""Scoring on Ray: actors on the machines of a cluster, each of which loads the model itself.

Ray distributes the numbers of row groups, not sequences: an actor reads its row groups where they are stored
and writes their parts to the target. Actors and machines that are lost are replaced by Ray, which gives their
row groups to others; a part that was written before is found and kept.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scanline.errors import MissingExtraError, ScanlineError, UsageError, one_line
from scanline.scoring.job import Part
from scanline.scoring.parts import PartScorer
from scanline.scoring.replies import error_reply, part_of
from scanline.scoring.work import PackedWork, Unit

_CONNECT_S = 10.0  # for a connection to a cluster
_WAITING = 2  # units that an actor has been given: it scores one, and the next one is there


class UnitScorer:
    """What an actor runs: scores units and returns records of their parts.

    Args:
        state: What `PartScorer.to_json` returned.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state
        self._score: PartScorer | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Return a record of each part, as JSON, for a batch of units."""
        replies = []
        for split, number, n in zip(batch["split"], batch["number"], batch["n"], strict=True):
            try:
                if self._score is None:
                    self._score = PartScorer.from_json(self._state)
                replies.append(self._score(Unit(str(split), int(number), int(n))).model_dump_json())
            # Other errors are bugs, or a lack of memory: Ray reports them.
            except ScanlineError as error:
                replies.append(error_reply(error))
        return {"reply": replies}


def check_ray(work: object, address: str) -> None:
    """Check that Ray can score sequences.

    Args:
        work: The sequences.
        address: As for `score_on_ray`.

    Raises:
        MissingExtraError: If Ray is not installed.
        UsageError: If the sequences are in the memory of this process, or there is no cluster.
    """
    try:
        import ray.data
    except ImportError:
        raise MissingExtraError("--engine ray", ["ray"], "ray") from None
    if not isinstance(work, PackedWork):
        raise UsageError(
            "--engine ray requires a packed data set: make one with `scanline data pack SOURCE --to URI`"
        )
    if address != "local" and not ray.is_initialized():
        _reachable(address)


def score_on_ray(score: PartScorer, units: Sequence[Unit], actors: int, address: str) -> Iterator[Part]:
    """Score units on Ray, and yield their parts as they are written.

    Args:
        score: The scorer; its sequences are a packed data set that all machines can read.
        units: The units.
        actors: Number of actors, each of which uses one core.
        address: "local" starts Ray on this machine, "auto" joins the cluster of this machine, "HOST:PORT"
            that of another one.

    Raises:
        ScanlineError: If Ray cannot be reached, or a unit cannot be scored.
    """
    with _connected(address):
        import ray

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # A block for each unit: actors take the next one when they have finished one.
        items = [asdict(unit) for unit in units]
        dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            UnitScorer,
            fn_constructor_args=(score.to_json(),),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(
                size=min(actors, len(units)), max_tasks_in_flight_per_actor=_WAITING
            ),
            num_cpus=1,
        )
        try:
            for row in dataset.iter_rows():
                yield part_of(row["reply"])
        except ray.exceptions.RayError as error:
            raise ScanlineError(
                f"--engine ray: {one_line(error, 300)}; repeat the command to continue"
            ) from error


@contextlib.contextmanager
def _connected(address: str) -> Iterator[None]:
    """Connect to Ray, unless this program is connected already."""
    # Nothing is sent to the makers of Ray; messages of its native part are in its log folder.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield
        return
    if address != "local":
        address = _reachable(address)
    dashboard = False if address == "local" else None
    try:
        with _no_native_messages():
            ray.init(address, include_dashboard=dashboard, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(address, one_line(error, 200)) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _no_native_messages() -> Iterator[None]:
    """Discard what is written to standard error: Ray's native part reports its log level there."""
    try:
        kept = os.dup(2)
    except OSError:  # closed by the caller
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _reachable(address: str) -> str:
    """Return the address of a cluster whose port is open; Ray would try a closed one for many minutes.

    Args:
        address: "auto" or "HOST:PORT", with or without "ray://".

    Raises:
        UsageError: If there is no cluster at the address.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "") or _address_of_this_machine()
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--address: expected local, auto or HOST:PORT, got {address!r}")
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, one_line(error)) from error
    return address


def _address_of_this_machine() -> str:
    """Return the address that `ray start` has written. Raises UsageError if it was not called."""
    folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"
    try:
        return (folder / "ray_current_cluster").read_text().strip()
    except OSError:
        raise UsageError(
            "--address: expected a Ray cluster on this machine, found none; start one with "
            "`ray start --head`, or use --address local or HOST:PORT"
        ) from None


def _no_cluster(address: str, fault: str) -> UsageError:
    return UsageError(f"--address: cannot join a Ray cluster at {address} ({fault})")
