"""The model card, `README.md` of a model folder: what a person should know before using the model."""

from __future__ import annotations

import json
import re

from scanline import cells
from scanline.model.description import Description
from scanline.tasks import Task

_MISSING = {
    "error": "no value may be missing",
    "mean": "a missing value is replaced by the training mean",
    "zero": "a missing value is replaced by 0",
    "forward-fill": "a missing value is replaced by the last one",
}


def model_card(description: Description, task: Task, data: str, parameters: int) -> str:
    """Return the model card as Markdown, with the front matter that model hubs read.

    Args:
        description: Content of `model.json`.
        task: The model's task.
        data: Name of the dataset that the model was trained on.
        parameters: Number of weights of the network.
    """
    title = cells.get(description.architecture.cell).title
    lines = [
        "---",
        f"license: {json.dumps(description.provenance.licence or 'unknown')}",
        "library_name: scanline",
        f"tags: [sequence-{task.name}, recurrent-neural-network, {description.architecture.cell}]",
        "---",
        "",
        f"# {title} model, {_plain(data)}",
        "",
        _network_line(description, title, parameters),
        "",
        f"- **Input** {_input(description)}.",
        f"- **Output** {_plain(task.describe())}.",
        f"- **Trained on** {_plain(data)}."
        + "".join(
            f" {name.capitalize()} split: {split.n:,} sequences, SHA-256 `{split.sha256}`."
            for name, split in description.provenance.parts.items()
        ),
        f"- **Accuracy** {_accuracy(description)}.",
        f"- **Probabilities** {_probabilities(description)}.",
        f"- **Licence** {_plain(description.provenance.licence) or 'unknown'}.",
        "",
        "The model predicts within the range of its training targets whatever it is given. Its accuracy on "
        "other data than its test split, such as another camera, another person or another hand, is unknown.",
        "",
        "```python",
        "import scanline",
        "",
        'model = scanline.load("this folder")',
        "model.predict(values)",
        "```",
    ]
    return "\n".join(lines) + "\n"


def _network_line(description: Description, title: str, parameters: int) -> str:
    a, provenance = description.architecture, description.provenance
    both = ", bidirectional" if a.bidirectional else ""
    made = _plain(provenance.made)
    if provenance.recipe:
        made += f" with the recipe {_plain(provenance.recipe)}, seed {provenance.seed}"
    return (
        f"{a.layers} x {title} with {a.hidden_size:,} units{both}, {a.readout} pooling, {a.dense_text}"
        f"{parameters:,} parameters; {made}."
    )


def _input(description: Description) -> str:
    form = description.input
    columns = ", ".join(map(_plain, form.settings.feature_columns))
    order = f", in this order: {columns}" if columns else ""
    if form.picture:
        p = form.picture
        colour = "grey levels" if p.channels == 1 else "red, green and blue"
        size = f"{p.height} x {p.width} pixels ({colour}, 0 to {p.levels})"
        return f"pictures of {size}, read as {form.view}{order}"
    return (
        f"sequences of any length, {form.source_features:,} features a step{order}; {_MISSING[form.missing]}"
    )


def _accuracy(description: Description) -> str:
    test = description.provenance.test
    if test is None:
        return "unknown: the model was not tested"
    return (
        f"{test.accuracy:.4f} on the test split ({test.correct:,} of {test.n:,}), 95 % interval "
        f"{test.ci95[0]:.4f} to {test.ci95[1]:.4f} (Wilson)"
    )


def _probabilities(description: Description) -> str:
    if description.temperature:
        return (
            "are calibrated when the outputs are divided by the temperature "
            f"{description.temperature:.4f}, fitted on the validation split"
        )
    return "are not calibrated"


def _plain(text: str) -> str:
    """A name as text, not as Markdown or markup."""
    return re.sub(r"([\\`*_{}\[\]<>()#|!~&$])", r"\\\1", " ".join(text.split()))
