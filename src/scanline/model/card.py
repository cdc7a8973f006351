"""The model card, `README.md` of a model folder: what a person should know before using the model."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from scanline import cells
from scanline.data.preprocessing import Preprocessing
from scanline.model.description import Description, EnsembleDescription, TestResult
from scanline.tasks import Task

_MISSING = {
    "error": "no value may be missing",
    "mean": "a missing value is replaced by the training mean",
    "zero": "a missing value is replaced by 0",
    "forward-fill": "a missing value is replaced by the last one",
}
_USE = (
    "The model predicts within the range of its training targets whatever it is given. Its accuracy on "
    "other data than its test split, such as another camera, another person or another hand, is unknown.",
    "",
    "```python",
    "import scanline",
    "",
    'model = scanline.load("this folder")',
    "model.predict(values)",
    "```",
)


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
        f"- **Input** {_input(description.input, description.input.view)}.",
        f"- **Output** {_plain(task.describe())}.",
        f"- **Trained on** {_plain(data)}."
        + "".join(
            f" {name.capitalize()} split: {split.n:,} sequences, SHA-256 `{split.sha256}`."
            for name, split in description.provenance.parts.items()
        ),
        *_quality(description, task),
        f"- **Licence** {_plain(description.provenance.licence) or 'unknown'}.",
        "",
        *_USE,
    ]
    return "\n".join(lines) + "\n"


def _quality(description: Description, task: Task) -> list[str]:
    """Return what the card says of predictions that are right or wrong."""
    if task.predicts_numbers() or task.targets == "label-sets":
        return ["- **Metrics** are in `result.json` of the run that the model comes from."]
    return [
        f"- **Accuracy** {_accuracy(description.provenance.test, task)}.",
        f"- **Probabilities** {_probabilities(description.temperature)}.",
    ]


def ensemble_card(
    description: EnsembleDescription,
    members: Sequence[str],
    task: Task,
    preprocessing: Preprocessing,
    view: str | None,
) -> str:
    """Return the model card of an ensemble.

    Args:
        description: Content of `model.json`.
        members: The network of each member in a few words.
        task: The task of the ensemble.
        preprocessing: What all members read.
        view: How they cut pictures into steps, in words.
    """
    provenance, data = description.provenance, description.data
    rows = [
        f"| [{number}](members/{number}/README.md) | {_plain(record.name)} | {_plain(text)} "
        f"| {_plain(record.recipe)} | {'' if record.seed is None else record.seed} |"
        for number, (record, text) in enumerate(zip(description.members, members, strict=True), 1)
    ]
    lines = [
        "---",
        f"license: {json.dumps(provenance.licence or 'unknown')}",
        "library_name: scanline",
        f"tags: [sequence-{task.name}, recurrent-neural-network, ensemble]",
        "---",
        "",
        f"# Ensemble of {len(members)} models, {_plain(data)}",
        "",
        "The probabilities are the mean of those of its members.",
        "",
        "| member | run | network | recipe | seed |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"- **Input** {_input(preprocessing, view)}.",
        f"- **Output** {_plain(task.describe())}.",
        f"- **Trained on** {_plain(data)}, see the cards of the members.",
        f"- **Accuracy** {_accuracy(provenance.test, task)}.",
        f"- **Probabilities** {_probabilities(description.temperature)}.",
        f"- **Licence** {_plain(provenance.licence) or 'unknown'}.",
        "",
        *_USE,
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


def _input(form: Preprocessing, view: str | None) -> str:
    columns = ", ".join(map(_plain, form.feature_names or form.settings.feature_columns))
    order = f", in this order: {columns}" if columns else ""
    cut = f"; read in {form.windows.describe()}, whose predictions are joined" if form.windows else ""
    if form.picture:
        p = form.picture
        colour = "grey levels" if p.channels == 1 else "red, green and blue"
        size = f"{p.height} x {p.width} pixels ({colour}, 0 to {p.levels})"
        return f"pictures of {size}, read as {view}{order}"
    if form.sample_rate:
        return f"recordings of any length, {describe_recordings(form)}{cut}"
    names = form.settings.static_columns
    static = f", of which {', '.join(map(_plain, names))} have one value for a sequence" if names else ""
    size = f"{form.source_features:,} features a step"
    return f"sequences of any length, {size}{order}{static}; {_MISSING[form.missing]}{cut}"


def describe_recordings(form: Preprocessing) -> str:
    """Return what a model that reads recordings reads, in words."""
    text, steps = f"{form.sample_rate:,} samples a second", form.log_mel
    if steps is None:  # each member of an ensemble has steps of its own
        return text
    return (
        f"{text}, as {steps.mels} log-mel features of {steps.lowest:g} to {steps.highest:g} Hz, a window of "
        f"{steps.window * 1000:g} ms each {steps.hop * 1000:g} ms"
    )


def _accuracy(test: TestResult | None, task: Task) -> str:
    if test is None:
        return "unknown: the model was not tested"
    of, method = (" steps", "bootstrap over sequences") if task.per_step else ("", "Wilson")
    return (
        f"{test.accuracy:.4f} on the test split ({test.correct:,} of {test.n:,}{of}), 95 % interval "
        f"{test.ci95[0]:.4f} to {test.ci95[1]:.4f} ({method})"
    )


def _probabilities(temperature: float | None) -> str:
    if temperature:
        return (
            "are calibrated when the outputs are divided by the temperature "
            f"{temperature:.4f}, fitted on the validation split"
        )
    return "are not calibrated"


def _plain(text: str) -> str:
    """A name as text, not as Markdown or markup."""
    return re.sub(r"([\\`*_{}\[\]<>()#|!~&$])", r"\\\1", " ".join(text.split()))
