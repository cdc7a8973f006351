"""The card that travels with a model: what a person should know before using it."""

from __future__ import annotations

import json
import re

from scanline.model.model_files import Description


def model_card(description: Description, data: str, parameters: int) -> str:
    """What a person should know of a model, as Markdown with the front matter that model hubs read."""
    a, form, history = description.architecture, description.input, description.history
    test = history.test
    known = [_plain(str(name)) for name in description.classes[:40]]
    more = f" and {a.classes - 40:,} more" if a.classes > 40 else ""
    if form.picture:
        p = form.picture
        colour = "grey levels" if p.channels == 1 else "red, green and blue"
        reads = f"pictures of {p.height} x {p.width} pixels ({colour}, 0 to {p.levels}), as {form.view}"
    else:
        reads = f"sequences of any length, {form.source_features:,} values a step"
    columns = ", ".join(map(_plain, form.settings.feature_columns))
    missing = {"error": "none may be missing", "mean": "the training mean stands in for a missing one"}
    missing |= {"zero": "0 stands in for a missing one", "forward-fill": "a missing one is as it was last"}
    lines = [
        "---",
        f"license: {_yaml(history.licence or 'unknown')}",
        "library_name: scanline",
        "tags: [sequence-classification, recurrent-neural-network, " + a.cell + "]",
        "---",
        "",
        f"# {a.cell.upper()} classifier, {_plain(data)}",
        "",
        f"{a.layers} x {a.cell.upper()} with {a.hidden_size:,} units"
        + (", in both directions" if a.bidirectional else "")
        + f", readout {a.readout}, {parameters:,} parameters; {_plain(history.made)}"
        + (f" with the recipe {_plain(history.recipe)}, seed {history.seed}" if history.recipe else "")
        + ".",
        "",
        f"- **Reads** {reads}{'' if form.picture else '; ' + missing[form.missing]}."
        + (f" In this order: {columns}." if columns else ""),
        f"- **Answers** with one of {a.classes:,} classes: {', '.join(known)}{more}.",
        f"- **Trained on** {_plain(data)}."
        + "".join(
            f" {name.capitalize()} part: {part.n:,} sequences, SHA-256 `{part.sha256}`."
            for name, part in history.parts.items()
        ),
        "- **Accuracy** "
        + (
            "is not known: it was not tested."
            if test is None
            else f"{test.accuracy:.4f} on the test part ({test.correct:,} of {test.n:,}), 95 % interval "
            f"{test.ci95[0]:.4f} to {test.ci95[1]:.4f} (Wilson)."
        ),
        "- **Probabilities** are the softmax of its logits"
        + (
            f"; divided by {description.temperature:.4f} (fitted on the validation part) they are calibrated."
            if description.temperature
            else "; they are not calibrated."
        ),
        f"- **Licence**: {_plain(history.licence) if history.licence else 'none was said'}.",
        "",
        "It knows its classes only: whatever it is given, it answers with one of them. What it was not "
        "trained on, another camera, another person, another way of writing, was not tested.",
        "",
        "```python",
        "import scanline",
        "",
        'model = scanline.load("this folder")',
        "model.predict(values)",
        "```",
    ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """A name as text, not as Markdown or markup."""
    return re.sub(r"([\\`*_{}\[\]<>()#|!~&$])", r"\\\1", " ".join(text.split()))


def _yaml(text: str) -> str:
    return json.dumps(text)
