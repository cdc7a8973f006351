"""Describes the model to clients: what `/v1/model` returns."""

from __future__ import annotations

import numpy as np

from scanline import cells
from scanline.errors import UsageError
from scanline.model.artifact import Model, TrainedModel
from scanline.serving.limits import Limits
from scanline.serving.schema import (
    Accuracy,
    ModelDescription,
    NetworkDescription,
    PictureInput,
    RequestLimits,
    SequenceInput,
    TextInput,
)


def describe_model(
    model: TrainedModel, name: str, digest: str, version: str, limits: Limits
) -> ModelDescription:
    """Return what the model is, what it reads, its accuracy, and the limits.

    Args:
        model: The model.
        name: Name of the model.
        digest: The beginning of its digest.
        version: Version of Scanline.
        limits: The server's limits.
    """
    tested, obstacle = model.provenance.test, obstacle_to_streams(model)
    accuracy = None
    if tested is not None:
        accuracy = Accuracy(accuracy=tested.accuracy, ci95=list(tested.ci95), n=tested.n)
    return ModelDescription(
        schema=1,
        name=name,
        model=digest,
        version=version,
        trained_on=model.data,
        task=model.task.name,
        classes=list(model.class_names),
        class_names=list(map(str, model.class_names)),
        input=_describe_input(model),
        network=_describe_network(model.models[0]) if len(model.models) == 1 else None,
        members=[_describe_network(each) for each in model.models] if len(model.models) > 1 else [],
        accuracy=accuracy,
        licence=model.provenance.licence or None,
        calibrated=model.calibrated,
        streams=obstacle is None,
        streams_obstacle=obstacle,
        limits=RequestLimits(**{field: getattr(limits, field) for field in RequestLimits.model_fields}),
    )


def obstacle_to_streams(model: TrainedModel) -> str | None:
    """Return why the model cannot predict while steps arrive, or None if it can."""
    try:
        model.stream()
    except UsageError as error:
        return str(error)
    return None


def _describe_network(model: Model) -> NetworkDescription:
    architecture = model.network.architecture
    cell = cells.get(architecture.cell)
    return NetworkDescription(
        cell=architecture.cell,
        layers=architecture.layers,
        hidden_size=architecture.hidden_size,
        bidirectional=architecture.bidirectional,
        readout=architecture.readout,
        parts=list(cell.traced),
        titles=dict(cell.titles),
        gates=list(cell.clampable),
        forget_gate=cell.forget_gate,
        parameters=model.network.parameter_count,
    )


def _describe_input(model: TrainedModel) -> SequenceInput | PictureInput | TextInput:
    preprocessing = model.preprocessing
    settings = preprocessing.settings
    if settings.tokens:
        return TextInput(
            tokens=settings.tokens,
            lower_case=settings.lower_case,
            maximum_length=settings.maximum_length,
            unit=settings.tokens.removesuffix("s"),
        )
    picture, view = preprocessing.picture, preprocessing.picture_view
    if picture is None or view is None:
        names = list(preprocessing.feature_names)
        return SequenceInput(
            # The page shows the log-mel steps of recordings.
            features=preprocessing.features if preprocessing.log_mel else preprocessing.source_features,
            names=names if len(names) == preprocessing.source_features else None,
            missing=preprocessing.missing,
            categorical=[each.feature for each in model.models[0].preprocessing.vocabularies],
            sample_rate=preprocessing.sample_rate or None,
        )
    # Undo the view of an image of step numbers: every pixel then holds the number of the step that reads it.
    steps = picture.height * picture.width * picture.channels // preprocessing.features
    numbers = np.repeat(np.arange(1, steps + 1), preprocessing.features)
    places = view.undo(numbers.reshape(1, steps, preprocessing.features))[0]
    return PictureInput(
        height=picture.height,
        width=picture.width,
        channels=picture.channels,
        levels=picture.levels,
        fit=picture.fit,
        view=preprocessing.view,
        unit=view.unit,
        steps=steps,
        features=preprocessing.features,
        step_of_pixel=places.reshape(picture.height, picture.width, picture.channels)[..., 0].tolist(),
    )
