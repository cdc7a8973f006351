"""Runs that are long enough to be disturbed, and what all of them must come to."""

from __future__ import annotations

from pathlib import Path

from tests.crash.campaign import digests
from tests.training.distributed.processes import Launch, train_alone, train_together, wait_for

SETTINGS = {
    "train.slices": 4, "train.samples": 0, "train.steps": 400, "train.checkpoint_every": 20,
    "train.validate_every": 50, "train.log_every": 15, "model.hidden_size": 8, "model.dropout": 0.3,
    "model.layers": 2,
}  # fmt: skip


def arguments(run: str = "run", **changes: object) -> list[str]:
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}
    return ["digits", "--run", run, "--device", "cpu", *(f"--set={k}={v}" for k, v in settings.items())]


def undisturbed(folder: Path) -> dict[str, object]:
    """Return the digests of a run in one process."""
    ended = train_alone(folder, arguments())
    assert ended.code == 0, ended
    return digests(folder / "run")


def newest_step(run: Path) -> int:
    """Return the step of the newest checkpoint, or -1."""
    return max((int(each.name.rpartition("-")[2]) for each in run.glob("checkpoints/step-*")), default=-1)


def wait_for_step(launch: Launch, step: int, run: str = "run") -> None:
    """Wait until the run has a checkpoint of `step` or a later one."""

    def has_come() -> bool:
        assert launch.process.poll() is None, f"the launch has ended: {launch.text}"
        return newest_step(launch.folder / run) >= step

    wait_for(has_come, f"checkpoint of step {step}; printed: {launch.text}")
    assert not (launch.folder / run / "result.json").exists(), "the run has ended too early to be disturbed"


def resume(folder: Path, processes: int) -> dict[str, object]:
    """Resume the run in so many processes, and return its digests."""
    ended = train_together(folder, *[["--resume", "--run", "run", "--device", "cpu"]] * processes)
    assert [each.code for each in ended] == [0] * processes, ended
    return digests(folder / "run")
