"""Ensembles: one model made of several, whose probabilities are the mean of those of its members.

Members may have different cells, sizes, views and scaling. They read the same sequences, and their classes
are the same. How they are stored: `ensemble_files`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.preprocessing import Preprocessing
from scanline.data.source import SequenceSource
from scanline.errors import ModelError, UsageError, printable
from scanline.limits import exceeded, limit_of
from scanline.metrics.classification import ClassificationMetrics
from scanline.metrics.probabilities import log_mean_probabilities, mean_probabilities
from scanline.metrics.results import Metrics
from scanline.model import ensemble_files
from scanline.model.artifact import Model, TrainedModel
from scanline.model.card import ensemble_card
from scanline.model.description import (
    ENSEMBLE_SCHEMA,
    EnsembleDescription,
    MemberRecord,
    Provenance,
    SplitDigest,
    TestResult,
)
from scanline.model.ensemble_files import member_folder, read_ensemble
from scanline.model.ensemble_input import SharedPreprocessing, check_members, class_order
from scanline.model.ensemble_session import EnsembleSession
from scanline.model.inputs import check_source
from scanline.model.model_files import CARD, DESCRIPTION, describe_tensors, description_text
from scanline.storage.atomic import atomic_folder, write_atomic
from scanline.storage.digest import sha256
from scanline.tasks import Task
from scanline.version import __version__

_SHOWN = 8  # kinds of networks in the summary


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble(TrainedModel):
    """Several models as one; made by `make_ensemble` or `scanline.ensemble`.

    Its steps are the sequences as they were read, its outputs the logarithm of the mean of the members'
    probabilities.

    Attributes:
        members: The models, each with the same weight in the mean.
        names: Name of the run that each member comes from; empty where it is unknown.
    """

    members: tuple[Model, ...]
    task: Task
    preprocessing: Preprocessing
    data: str
    names: tuple[str, ...]
    temperature: float | None = None
    provenance: Provenance = field(default_factory=Provenance)
    calibrated: bool = False

    def _networks_line(self) -> str:
        counts = Counter(member.short_name for member in self.members)
        kinds = [name if count == 1 else f"{name} ({count} times)" for name, count in counts.items()]
        networks = "; ".join([*kinds[:_SHOWN], *([f"{len(kinds) - _SHOWN} more"] if kinds[_SHOWN:] else [])])
        return f"Ensemble of {len(self.members)}: {networks}; {self.parameter_count:,} parameters"

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Ensemble:
        """Read the ensemble in `folder`, see `TrainedModel.load`."""
        description = read_ensemble(folder)
        numbers = range(1, len(description.members) + 1)
        members = [Model.load(folder / member_folder(number), device) for number in numbers]
        # A seal detects damage, not forgery: whether the members fit together is checked anew.
        try:
            check_members(members)
        except UsageError as error:
            raise ModelError(f"{folder / DESCRIPTION} does not fit its members: {error}") from None
        names = [member.name for member in description.members]
        made = _combined(members, names, description.data, description.provenance)
        return replace(made, temperature=description.temperature)

    def describe(self, version: str = __version__) -> EnsembleDescription:
        """Return the content of `model.json`; `version` is the version of Scanline recorded in it."""
        return EnsembleDescription(
            schema_=ENSEMBLE_SCHEMA,
            scanline=version,
            data=printable(self.data),
            temperature=self.temperature,
            provenance=self.provenance,
            members=[
                MemberRecord(
                    name=printable(name),
                    recipe=printable(member.provenance.recipe),
                    seed=member.provenance.seed,
                    # Computed, not read: a member need not have been saved.
                    sha256=sha256(description_text(member.describe(version)).encode()),
                )
                for name, member in zip(self.names, self.members, strict=True)
            ],
        )

    def save(self, folder: Path, version: str = __version__, beside: Mapping[str, str] | None = None) -> None:
        """Write the ensemble to `folder`, whole or not at all, replacing what is there.

        Args:
            folder: The folder.
            version: The version of Scanline recorded in it.
            beside: Content of other text files that appear with it, by name.
        """
        description = self.describe(version)
        networks = [
            f"{member.short_name}{f', {member.view}' if member.view else ''}" for member in self.members
        ]
        card = ensemble_card(description, networks, self.task, self.preprocessing, self.view)
        with atomic_folder(folder) as new:
            for number, member in enumerate(self.members, 1):
                member.save(new / member_folder(number), version)
            write_atomic(new / DESCRIPTION, description_text(description))
            for name, text in {CARD: card, **(beside or {})}.items():
                write_atomic(new / name, text)

    def _file_names(self) -> tuple[str, ...]:
        return ensemble_files.file_names(len(self.members))

    def with_test(self, metrics: Metrics) -> Ensemble:
        """Return the same ensemble with the metrics of its test split recorded in its provenance."""
        if not isinstance(metrics, ClassificationMetrics):
            raise UsageError(f"expected metrics of a classification, got {type(metrics).__name__}")
        tested = TestResult(
            n=metrics.n, correct=metrics.correct, accuracy=metrics.accuracy, ci95=metrics.ci95
        )
        return replace(self, provenance=self.provenance.model_copy(update={"test": tested}))

    @property
    def models(self) -> tuple[Model, ...]:
        """The members."""
        return self.members

    @property
    def short_name(self) -> str:
        """The number of members."""
        return f"ensemble of {len(self.members)}"

    def one_network(self, what: str) -> Model:
        """Raise UsageError: there are several."""
        raise UsageError(
            f"{what} needs one network, and this model is an ensemble of {len(self.members)}: "
            f"name a member, such as {member_folder(1)} in its folder"
        )

    def with_reading(self, **settings: str | int) -> Ensemble:
        """Return the same model, which reads files of another dialect; see `TrainedModel.with_reading`."""
        return replace(self, preprocessing=self.preprocessing.with_reading(settings))

    # --- prediction

    @cached_property
    def class_orders(self) -> list[list[int]]:
        """For each member, which of its outputs belongs to each class of the ensemble."""
        return [class_order(member, self.members[0]) for member in self.members]

    def member_outputs(self, source: SequenceSource) -> list[NDArray[np.float32]]:
        """Return the outputs (N, M) of each member, in the order of its own classes.

        Args:
            source: Sequences as `steps` returns them.
        """
        check_source(source)
        return [member.outputs(member.steps(source)) for member in self.members]

    def outputs(self, source: SequenceSource) -> NDArray[np.float64]:
        """Return the logarithm of the mean of the members' probabilities, (N, M), divided by `divisor`."""
        return self._computed(source)[0]

    def combined(self, outputs: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Return the uncalibrated outputs (N, M) for those of the members, in the order of their classes."""
        pairs = zip(outputs, self.class_orders, strict=True)
        return log_mean_probabilities([each[:, order] for each, order in pairs])

    def _computed(self, steps: SequenceSource) -> tuple[NDArray[Any], NDArray[np.float64]]:
        members = self.member_outputs(steps)
        outputs = self.combined(members) / self.divisor
        if self.divisor != 1:
            return outputs, self.task.probabilities(outputs)
        # The mean itself: its logarithm and exponential would change the last bits.
        rows = [member.task.probabilities(each) for member, each in zip(self.members, members, strict=True)]
        return outputs, mean_probabilities(
            [each[:, order] for each, order in zip(rows, self.class_orders, strict=True)]
        )

    # --- step by step

    def stream(self, sessions: int | None = None) -> EnsembleSession:
        """Return a session for each member, which read the same steps; see `TrainedModel.stream`.

        Raises:
            UsageError: Also if members read other steps than those of the data.
        """
        self._check_steps()
        return EnsembleSession(
            [member.stream(sessions) for member in self.members], self.class_orders, self.task, self.divisor
        )

    def resume(self, content: bytes) -> EnsembleSession:
        """Return the session saved by `EnsembleSession.to_bytes`, see `TrainedModel.resume`."""
        self._check_steps()
        resumes = [member.resume for member in self.members]
        return EnsembleSession.from_bytes(resumes, self.class_orders, self.task, content)

    def _check_steps(self) -> None:
        """Check that all members read the steps of the data, and in one direction."""
        for number, member in enumerate(self.members, 1):
            form = member.preprocessing
            # After a step of the data, such a member may have read nothing yet, or half of one of its steps.
            if form.features != form.source_features or form.view != "rows":
                how = form.view if form.picture else f"steps of {form.features} of {form.source_features}"
                raise UsageError(
                    f"member {number} of this ensemble reads {how}, other than the steps of the data: "
                    "stream with a member, or make an ensemble of members that read rows"
                )
            try:
                member.stream()
            except UsageError as error:
                raise UsageError(f"member {number} of this ensemble cannot stream: {error}") from None


def make_ensemble(
    members: Sequence[Model],
    validation: SequenceSource | None = None,
    outputs: Sequence[NDArray[np.float32]] | None = None,
    names: Sequence[str] = (),
) -> Ensemble:
    """Combine models into one, and calibrate it.

    Args:
        members: At least two models of the same task, classes and input.
        validation: Sequences with targets, as they were read, that no member was trained on: the temperature
            is fitted on them. None: the ensemble has no temperature.
        outputs: The uncalibrated outputs (N, M) of each member for `validation`, if they are known already.
        names: Name of each member's run, as the description has it.

    Returns:
        The ensemble.

    Raises:
        UsageError: If the models do not fit together; names the first difference.
        DataError: If `validation` does not fit the models.
    """
    check_members(members)
    if len(members) > limit_of("MEMBERS"):
        raise UsageError(exceeded("MEMBERS", len(members)))
    _check_different(members)
    made = _combined(members, names or [""] * len(members), members[0].data, _provenance(members))
    if validation is None:
        return made
    steps = made.steps(validation)
    # Before the classes are reordered: training takes its digests before that, too.
    digest = SplitDigest(n=len(steps), sha256=steps.fingerprint())
    aligned = made.with_targets(steps)
    known = made.member_outputs(steps) if outputs is None else outputs
    return replace(
        made,
        temperature=made.task.fit_temperature(made.combined(known), made.task.encode(aligned)),
        provenance=made.provenance.model_copy(update={"parts": {"validation": digest}}),
    )


def _combined(members: Sequence[Model], names: Sequence[str], data: str, provenance: Provenance) -> Ensemble:
    # A member's temperature belongs to its own outputs; that of the ensemble is fitted on the mean.
    plain = tuple(replace(member, calibrated=False) for member in members)
    return Ensemble(
        plain,
        plain[0].task,
        SharedPreprocessing.of(plain),
        data,
        tuple(names),
        provenance=provenance,
    )


def _check_different(members: Sequence[Model]) -> None:
    """Raise UsageError if two members have the same weights, as runs of the same recipe and seed have."""
    known: dict[str, int] = {}
    for number, member in enumerate(members, 1):
        # Digests, so that no member is compared with every other one.
        tensors = describe_tensors(member.network.state_dict())
        digest = sha256("".join(f"{name} {each.sha256}" for name, each in tensors.items()).encode())
        if digest in known:
            raise UsageError(
                f"expected different models, but members {known[digest]} and {number} have the same weights"
            )
        known[digest] = number


def _provenance(members: Sequence[Model]) -> Provenance:
    licences = dict.fromkeys(member.provenance.licence for member in members)
    return Provenance(
        made=f"ensemble of {len(members)} models, made by Scanline",
        # Unknown, if that of one member is.
        licence="" if "" in licences else printable("; ".join(licences)),
    )
