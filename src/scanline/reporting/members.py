"""The members of an ensemble in a report: what they are, and how accurate each is alone."""

from __future__ import annotations

from scanline.data.source import SequenceSource
from scanline.metrics.classification import ClassificationMetrics
from scanline.model.artifact import TrainedModel
from scanline.model.ensemble import Ensemble
from scanline.reporting.facts import MemberFacts


def member_facts(model: TrainedModel, source: SequenceSource) -> tuple[MemberFacts, ...]:
    """Return the members of an ensemble with their metrics; none for a model of one network.

    Args:
        model: The model.
        source: Sequences with targets, as `align` of the ensemble returns them.
    """
    if not isinstance(model, Ensemble):
        return ()
    made = []
    for number, (name, member) in enumerate(zip(model.names, model.members, strict=True), 1):
        aligned = member.align(source)
        metrics = member.task.metrics(member.outputs(aligned), aligned)
        accuracy, interval, loss = None, None, None
        if isinstance(metrics, ClassificationMetrics):
            accuracy, interval, loss = metrics.accuracy, metrics.ci95, metrics.loss
        provenance = member.provenance
        made.append(
            MemberFacts(
                number=number,
                run=name,
                network=member.short_name,
                view=member.view,
                recipe=provenance.recipe,
                seed=provenance.seed,
                accuracy=accuracy,
                ci95=interval,
                loss=loss,
            )
        )
    return tuple(made)
