"""A model in three lines, for `print(model)`."""

from __future__ import annotations

from scanline import cells
from scanline.data.preprocessing import Preprocessing
from scanline.errors import printable
from scanline.model.card import describe_recordings
from scanline.model.description import Provenance
from scanline.model.network import Network
from scanline.tasks import Task


def network_line(network: Network) -> str:
    """Return the layers and the size of a network in a line."""
    a = network.architecture
    layers = f"{a.layers} layer{'s' if a.layers > 1 else ''} of {a.hidden_size:,} units"
    both = ", bidirectional" if a.bidirectional else ""
    size = f"{network.parameter_count:,} parameters"
    return f"{cells.get(a.cell).title}: {layers}{both}, {a.readout} pooling, {a.dense_text}{size}"


def summarise(
    networks: str,
    task: Task,
    preprocessing: Preprocessing,
    view: str | None,
    data: str,
    provenance: Provenance,
) -> str:
    """Return three lines: the network, the task with its input, and the provenance with the accuracy.

    Args:
        networks: The first line.
        task: What is predicted.
        preprocessing: What the model reads.
        view: How it cuts pictures into steps.
        data: Name of the training data.
        provenance: Where the model comes from.
    """
    picture, test = preprocessing.picture, provenance.test
    reads = f"{preprocessing.source_features:,} features a step"
    if preprocessing.static:
        reads += f", {len(preprocessing.static):,} of them static"
    if picture is not None:
        reads = f"pictures of {picture.height} x {picture.width} pixels as {view}"
    elif preprocessing.sample_rate:
        reads = f"recordings of {describe_recordings(preprocessing)}"
    if preprocessing.windows is not None:
        reads += f" in {preprocessing.windows.describe()}"
    recipe = f", recipe {provenance.recipe}, seed {provenance.seed}" if provenance.recipe else ""
    without = task.predicts_numbers() or task.targets == "label-sets"
    accuracy = "" if without else "; not tested"
    if test is not None:
        low, high = test.ci95
        accuracy = f"; test accuracy {test.accuracy:.4f} ({low:.4f} to {high:.4f}, 95 % CI, n = {test.n:,})"
    lines = (
        networks,
        f"{task.name.capitalize()}, {task.describe()}; input: {reads}",
        f"{provenance.made} on {data}{recipe}{accuracy}",
    )
    return "\n".join(printable(line.replace("\n", " ")) for line in lines)
