"""Scoring on Ray: actors on the machines of a cluster, each of which loads the model itself.

Ray distributes the numbers of row groups, not sequences: an actor reads its row groups where they are stored
and writes their parts to the target. Actors and machines that are lost are replaced by Ray, which gives their
row groups to others; a part that was written before is found and kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from scanline.clusters import check_reachable, connected
from scanline.errors import MissingExtraError, ScanlineError, UsageError, one_line
from scanline.scoring.job import Part
from scanline.scoring.parts import PartScorer
from scanline.scoring.replies import error_reply, part_of
from scanline.scoring.work import PackedWork, Unit

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
        import ray.data  # noqa: F401
    except ImportError:
        raise MissingExtraError("--engine ray", ["ray"], "ray") from None
    if not isinstance(work, PackedWork):
        raise UsageError(
            "--engine ray requires a packed data set: make one with `scanline data pack SOURCE --to URI`"
        )
    check_reachable(address)


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
    with connected(address):
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
