"""Plots of training, evaluation, searches and single sequences; the only importer of Matplotlib.

Plots take numbers and labels, never models, runs or files. Every plot returns a Matplotlib figure, which
`to_svg`, `to_png` and `to_gif` turn into files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scanline.plots.evaluation import (
    Estimates,
    ReliabilityBins,
    accuracy_by_length,
    accuracy_by_step,
    class_metrics,
    coverage_curve,
    predicted_numbers,
    reliability_diagram,
    residual_histogram,
)
from scanline.plots.gates import GateActivity, gate_activity
from scanline.plots.output import to_gif, to_png, to_svg
from scanline.plots.search import (
    SettingAxis,
    TrialScores,
    compared_scores,
    parallel_coordinates,
    setting_importance,
    trial_history,
)
from scanline.plots.sequence import AttributionImage, Panel, SequenceData, explanation, mistake
from scanline.plots.steps import StepLine, step_classes, step_numbers
from scanline.plots.training import LearningCurve, learning_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Figure

__all__ = [
    "AttributionImage",
    "Estimates",
    "GateActivity",
    "LearningCurve",
    "Panel",
    "ReliabilityBins",
    "SequenceData",
    "SettingAxis",
    "StepLine",
    "TrialScores",
    "accuracy_by_length",
    "accuracy_by_step",
    "class_metrics",
    "compared_scores",
    "coverage_curve",
    "explanation",
    "gate_activity",
    "learning_curve",
    "mistake",
    "parallel_coordinates",
    "predicted_numbers",
    "reliability_diagram",
    "residual_histogram",
    "setting_importance",
    "step_classes",
    "step_numbers",
    "to_gif",
    "to_png",
    "to_svg",
    "trial_history",
]
