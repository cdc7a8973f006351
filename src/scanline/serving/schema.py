"""The JSON of requests and responses as Pydantic models: for validation and for OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(strict=True, ge=0)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
LayerNumber = Annotated[int, Field(strict=True, ge=1, description="Counted from 1; all layers if omitted.")]
DirectionName = Literal["forward", "backward"]
ClassLabel = bool | int | float | str

# --- requests


class _RequestModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClampRequest(_RequestModel):
    """Hold a gate at a value at every step."""

    gate: str
    value: Number
    layer: LayerNumber | None = None
    direction: DirectionName | None = None


class SilenceRequest(_RequestModel):
    """Set the output of a unit, counted from 0, to 0 at every step."""

    unit: Count
    layer: LayerNumber | None = None
    direction: DirectionName | None = None


class WhatIfRequest(_RequestModel):
    """Changes inside the network under which to predict."""

    blank: Annotated[
        list[Annotated[int, Field(strict=True, ge=1)]],
        Field(description="Steps, counted from 1, whose values are replaced by the baseline."),
    ] = []
    clamp: list[ClampRequest] = []
    silence: list[SilenceRequest] = []


class PredictRequest(_RequestModel):
    """A request for predictions."""

    inputs: Annotated[
        list[Any],
        Field(
            min_length=1,
            description="N sequences (T, F) or (T,), or N images (height, width) or (height, width, 3). "
            "null is a missing value, if the model accepts them. For a model of texts, N texts, or lists of "
            'tokens; with categories, N lists of steps such as ["GET", 0.5] or {"verb": "GET", "size": 0.5}. '
            'Both may be written as {"text": "..."} and {"steps": [...]}; beside steps, "static" may have an '
            'object with static columns, such as {"age": 63}.',
        ),
    ]
    lengths: Annotated[
        list[Annotated[int, Field(strict=True, ge=1)]] | None,
        Field(description="Number of steps of each padded sequence that are not padding."),
    ] = None
    full_scale: Annotated[
        float | None,
        Field(
            strict=True,
            gt=0,
            allow_inf_nan=False,
            description="The number that stands for full ink in an image.",
        ),
    ] = None
    fit: Annotated[
        bool,
        Field(strict=True, description="Accept images of any size and fit them to the training images."),
    ] = False
    trace: Annotated[
        bool, Field(strict=True, description="Return probabilities, gates and states at every step.")
    ] = False
    attribution: Annotated[
        bool,
        Field(strict=True, description="Return how much each value contributed to the predicted class."),
    ] = False
    what_if: WhatIfRequest | None = None


class StreamRequest(_RequestModel):
    """One message of a stream, with exactly one of its members."""

    steps: list[Any] | None = None
    text: Annotated[
        str | None, Field(description="For a model of texts: what follows; its tokens are steps.")
    ] = None
    save: Literal[True] | None = None
    resume: str | None = None
    reset: Literal[True] | None = None


# --- responses


class AttributionResult(BaseModel):
    """How much each value contributed to the logit of a class (integrated gradients)."""

    of: Annotated[ClassLabel, Field(description="The class, or the output.")]
    values: Annotated[list[list[float]], Field(description="(T, F), in units of the logit.")]
    sum: float
    error: Annotated[float, Field(description="Difference from the gain of the logit.")]


class Prediction(BaseModel):
    """The prediction for one sequence."""

    label: Annotated[
        ClassLabel,
        Field(description="The class; of a regression the number; of several their text, with ;"),
    ]
    labels: Annotated[
        list[str] | None, Field(description="The classes, if there may be several or none; else absent.")
    ] = None
    numbers: Annotated[
        dict[str, dict[str, float]] | None,
        Field(description="Of several numbers value, low and high of each; else absent."),
    ] = None
    probability: Annotated[float | None, Field(description="Absent for a regression.")] = None
    probabilities: Annotated[dict[str, float] | None, Field(description="Absent for a regression.")] = None
    low: Annotated[float | None, Field(description="Lower end of a number's prediction interval.")] = None
    high: Annotated[float | None, Field(description="Its upper end.")] = None
    seen: Annotated[
        list[Any] | None,
        Field(description="The image, the steps or the tokens that the network read."),
    ] = None
    unknown: Annotated[
        int | None, Field(description="Number of categories or tokens that the model does not know.")
    ] = None
    attribution: AttributionResult | None = None
    trace: Annotated[
        dict[str, Any] | None, Field(description="Probabilities, gates and states at every step.")
    ] = None


class StepPrediction(BaseModel):
    """The prediction for one step."""

    label: Annotated[ClassLabel, Field(description="The class, or the number.")]
    probability: Annotated[float | None, Field(description="Absent for a number.")] = None
    probabilities: Annotated[dict[str, float] | None, Field(description="Absent for a number.")] = None
    low: Annotated[float | None, Field(description="Lower end of a number's prediction interval.")] = None
    high: Annotated[float | None, Field(description="Its upper end.")] = None


class PredictionOfSteps(BaseModel):
    """The predictions for the steps of one sequence, by a model that predicts each step."""

    steps: list[StepPrediction]
    unknown: Annotated[
        int | None, Field(description="Number of categories that the model does not know.")
    ] = None
    seen: Annotated[list[Any] | None, Field(description="The steps that the network read.")] = None
    trace: Annotated[
        dict[str, Any] | None, Field(description="Probabilities, gates and states at every step.")
    ] = None


class PredictResponse(BaseModel):
    """The predictions for a request, in the order of its inputs."""

    schema_: Annotated[int, Field(alias="schema")] = 1
    model: Annotated[str, Field(description="The beginning of the model's digest.")]
    predictions: list[Prediction] | list[PredictionOfSteps]


class StreamState(BaseModel):
    """The response to a message of a stream other than `steps`."""

    steps: Annotated[int, Field(description="Number of steps read so far.")]
    session: Annotated[str | None, Field(description="The saved session, base64.")] = None


class ProblemLocation(BaseModel):
    """One fault of a request."""

    pointer: Annotated[str, Field(description="JSON pointer into the request.")]
    detail: str


class ProblemDocument(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemLocation] | None = None


class SequenceInput(BaseModel):
    """What a model of sequences reads."""

    kind: Literal["sequence"] = "sequence"
    features: int
    names: Annotated[list[str] | None, Field(description="Names of the features.")]
    missing: Annotated[str, Field(description='Values may be null unless this is "error".')]
    categorical: Annotated[
        list[int], Field(description="Indices of the features that are names of categories.")
    ] = []
    unit: str = "step"
    sample_rate: Annotated[
        int | None,
        Field(description="Of a model of recordings: samples a second, from -1 to 1, of one feature."),
    ] = None


class TextInput(BaseModel):
    """What a model of texts reads."""

    kind: Literal["text"] = "text"
    tokens: Annotated[str, Field(description='What a step is: "words", "characters" or "bytes".')]
    lower_case: bool
    maximum_length: Annotated[int, Field(description="Tokens that are read, from the beginning; 0: all.")]
    unit: Annotated[str, Field(description="A token in the singular, such as word.")]


class PictureInput(BaseModel):
    """What a model of images reads."""

    kind: Literal["picture"] = "picture"
    height: int
    width: int
    channels: int
    levels: Annotated[int, Field(description="The number that stands for full ink.")]
    fit: str
    view: str
    unit: Annotated[str, Field(description="What one step reads, for example a row.")]
    steps: int
    features: int
    step_of_pixel: Annotated[
        list[list[int]],
        Field(description="(height, width): the step, counted from 1, that reads each pixel."),
    ]


class NetworkDescription(BaseModel):
    """The network of a model."""

    cell: str
    layers: int
    hidden_size: int
    bidirectional: bool
    readout: str
    parts: Annotated[list[str], Field(description="Gates and states in a trace, in order of computation.")]
    titles: Annotated[dict[str, str], Field(description="What the gates and states are, by name.")]
    gates: Annotated[list[str], Field(description="The gates that can be clamped, with values from 0 to 1.")]
    forget_gate: Annotated[str | None, Field(description="The gate that keeps the state, if there is one.")]
    parameters: int


class Accuracy(BaseModel):
    """Test accuracy with its 95 % confidence interval."""

    accuracy: float
    ci95: list[float]
    n: int


class RequestLimits(BaseModel):
    """The limits that a client has to know; fields as in `scanline.serving.limits.Limits`."""

    body_bytes: int
    sequences: int
    steps: int
    traced_steps: int
    traced_numbers: int
    pixels: int


class ModelDescription(BaseModel):
    """What the model is, what it reads, its accuracy, and the limits."""

    schema_: Annotated[int, Field(alias="schema")] = 1
    name: str
    model: Annotated[str, Field(description="The beginning of the model's digest.")]
    version: str
    trained_on: str
    task: Annotated[str, Field(description="What is predicted, such as classification or regression.")]
    classes: list[ClassLabel]
    class_names: Annotated[
        list[str], Field(description="The classes as text: JavaScript does not keep 1.0 apart from 1.")
    ]
    input: SequenceInput | PictureInput | TextInput
    network: Annotated[
        NetworkDescription | None,
        Field(description="The network; null for an ensemble, which has no traces."),
    ]
    members: Annotated[
        list[NetworkDescription], Field(description="The networks of an ensemble; empty for one network.")
    ] = []
    accuracy: Accuracy | None
    licence: str | None
    calibrated: bool
    streams: Annotated[bool, Field(description="Whether the model can predict while steps arrive.")]
    streams_obstacle: Annotated[str | None, Field(description="Why it cannot; null if it can.")]
    limits: RequestLimits


class GalleryItem(BaseModel):
    """A test sequence with its prediction."""

    index: int
    true: ClassLabel
    label: ClassLabel
    probability: float
    right: bool
    values: Annotated[list[Any] | str, Field(description="An input for /v1/predict.")]


class Gallery(BaseModel):
    """Test sequences to look at, the hardest first."""

    schema_: Annotated[int, Field(alias="schema")] = 1
    data: Annotated[str | None, Field(description="Name of the data set.")] = None
    items: list[GalleryItem] = []
