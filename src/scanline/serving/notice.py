"""The page of a model that the page for classes does not show: what can be sent, with an example."""

from __future__ import annotations

import html
import json
from typing import Any

from scanline.model.artifact import TrainedModel
from scanline.serving.description import obstacle_to_streams
from scanline.tasks import Task


def notice(model: TrainedModel, name: str) -> bytes:
    """Return the page as HTML.

    Args:
        model: The model.
        name: Name of the model.
    """
    task, example = model.task, {"inputs": [example_input(model)]}
    command = (
        "curl -X POST SERVER/v1/predict -H 'Content-Type: application/json' \\\n"
        f"  --data-raw '{json.dumps(example, ensure_ascii=False)}'"
    )
    obstacle = obstacle_to_streams(model)
    streams = (
        "A WebSocket at /v1/stream predicts while steps arrive."
        if obstacle is None
        else f"There are no streams: {obstacle}."
    )
    escape = html.escape
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<title>{escape(name)} · Scanline</title>\n<link rel="icon" href="data:,">\n'
        '<link rel="stylesheet" href="assets/app.css">\n</head>\n<body>\n'
        f'<header class="top"><h1>{escape(name)}</h1>'
        f'<p class="quiet">The page shows classifications; the task of this model is {escape(task.name)}. '
        f"{escape(_what(task))}</p></header>\n<main>\n"
        f"<h2>What can be sent</h2>\n<p>POST inputs to /v1/predict: {escape(_inputs(model))}. "
        f"{escape(streams)}</p>\n"
        f'<pre tabindex="0" role="region" aria-label="An example"><code>{escape(command)}</code></pre>\n'
        '<p><a href="v1/model">/v1/model</a> describes the model, '
        '<a href="openapi.json">/openapi.json</a> the routes.</p>'
        "\n</main>\n</body>\n</html>\n"
    ).encode()


def example_input(model: TrainedModel) -> Any:
    """Return an input that the model accepts: zeros, a text, or steps by the names of the features."""
    form, own = model.preprocessing, model.models[0].preprocessing
    if form.settings.tokens:
        return "a text"
    if form.picture is not None:
        pixel: Any = 0 if form.picture.channels == 1 else [0, 0, 0]
        return [[pixel] * form.picture.width] * form.picture.height
    names, step = form.feature_names, [0.0] * form.source_features
    cells: list[Any] = list(step)
    for vocabulary in own.vocabularies:
        cells[vocabulary.feature] = vocabulary.names[0] if vocabulary.names else ""
    if own.vocabularies and names:
        return [dict(zip(names, cells, strict=True))] * 2
    return [cells] * 2


def _what(task: Task) -> str:
    what = "numbers" if task.predicts_numbers() else "classes"
    return f"It predicts {what} for each {'step of a sequence' if task.per_step else 'sequence'}."


def _inputs(model: TrainedModel) -> str:
    form = model.preprocessing
    if form.settings.tokens:
        return f"texts, which are read as {form.settings.tokens}"
    if form.picture is not None:
        return f"images of {form.picture.height} x {form.picture.width}, or image files"
    if form.sample_rate:
        return f"WAV files of {form.sample_rate:,} samples a second, or samples from -1 to 1"
    names = form.feature_names
    shown = f" ({', '.join(names)})" if 0 < len(names) <= 12 else ""
    values = "1 value" if form.source_features == 1 else f"{form.source_features} values"
    return f"lists of steps of {values} each{shown}"
