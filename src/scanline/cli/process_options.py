"""The options of `scanline train` for several processes and machines."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import click

from scanline.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])

_SECONDS = click.FloatRange(min=1)
_OPTIONS = (
    click.option(
        "--processes",
        type=click.IntRange(min=1),
        metavar="K",
        help="Train in K processes on this machine; needs train.slices of at least K in all.",
    ),
    click.option(
        "--nodes",
        default="1",
        metavar="N|MIN:MAX",
        show_default=True,
        help="Number of machines that train together; all run the same command.",
    ),
    click.option("--rendezvous", metavar="HOST:PORT", help="Where the machines meet: HOST opens the port."),
    click.option("--job", metavar="NAME", help="Name of the training, the same on all machines."),
    click.option(
        "--join-timeout",
        default=300.0,
        type=_SECONDS,
        metavar="S",
        show_default=True,
        help="Seconds to wait for the other machines.",
    ),
    click.option(
        "--peer-timeout",
        default=30.0,
        type=_SECONDS,
        metavar="S",
        show_default=True,
        help="Seconds after which a process that does not answer counts as lost.",
    ),
    click.option(
        "--max-restarts",
        default=20,
        type=click.IntRange(min=0),
        metavar="N",
        show_default=True,
        help="How often processes are started again after a failure.",
    ),
    click.option(
        "--allow-mixed",
        is_flag=True,
        help="Train on machines that compute different bits; the result is then not reproducible.",
    ),
)


def process_options(command: Command) -> Command:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True)
class ProcessOptions:
    """The values of the options; see their help."""

    processes: int | None
    nodes: str
    rendezvous: str | None
    job: str | None
    join_timeout: float
    peer_timeout: float
    max_restarts: int
    allow_mixed: bool

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> ProcessOptions:
        """Return the values in `options`, from which they are removed."""
        return cls(**{field.name: options.pop(field.name) for field in fields(cls)})

    @property
    def wanted(self) -> bool:
        """Whether this process is to start others, which train."""
        return bool(self.processes or self.rendezvous) and not is_member()

    def launch(self) -> int:
        """Start the processes, each with this command line, and return the exit code of the training."""
        least, most = self._machines()
        from scanline.training.distributed.launch import Machines, launch

        machines = Machines(
            least, most, self.rendezvous or "", self.job or "", self.join_timeout, self.max_restarts
        )
        return launch(["-m", "scanline", *sys.argv[1:]], self.processes or 1, machines)

    def check(self) -> None:
        """Raise UsageError if the options do not fit together."""
        self._machines()

    def _machines(self) -> tuple[int, int]:
        """Return the smallest and the largest number of machines."""
        least, colon, most = self.nodes.partition(":")
        if not (least.isdecimal() and (not colon or most.isdecimal())):
            raise UsageError(f"--nodes: expected a number or MIN:MAX, got {self.nodes!r}")
        low, high = int(least), int(most or least)
        if not 1 <= low <= high:
            raise UsageError(f"--nodes: expected 1 or more, and MIN up to MAX, got {self.nodes}")
        if high > 1 and not self.rendezvous:
            raise UsageError("--nodes above 1 requires --rendezvous HOST:PORT, where the machines meet")
        return low, high


def is_member() -> bool:
    """Return whether an elastic agent, of this command or of torchrun, has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ
