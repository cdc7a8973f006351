"""What is sent and answered, as Pydantic models: checked where it comes in, and shown in OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(strict=True, ge=0)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
LayerNumber = Annotated[int, Field(strict=True, ge=1, description="Counted from 1; left out: all.")]
Way = Literal["forward", "backward"]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClampWish(_Sent):
    """Hold a gate at a value at every step."""

    gate: str
    value: Number
    layer: LayerNumber | None = None
    direction: Way | None = None


class SilenceWish(_Sent):
    """Make the output of a unit, counted from 0, 0 at every step."""

    unit: Count
    layer: LayerNumber | None = None
    direction: Way | None = None


class WhatIfWish(_Sent):
    """Change what happens inside, and answer for that."""

    blank: Annotated[
        list[Annotated[int, Field(strict=True, ge=1)]],
        Field(description="Steps, counted from 1, that are read as if nothing stood there."),
    ] = []
    clamp: list[ClampWish] = []
    silence: list[SilenceWish] = []


class PredictWish(_Sent):
    """A request for answers, as JSON."""

    inputs: Annotated[
        list[Any],
        Field(
            min_length=1,
            description="N sequences (T, F) or (T,), or N pictures (height, width) or (height, width, 3). "
            "null is a missing value, where the model bears them.",
        ),
    ]
    lengths: Annotated[
        list[Annotated[int, Field(strict=True, ge=1)]] | None,
        Field(description="How many steps of each padded sequence are real."),
    ] = None
    full_scale: Annotated[
        float | None,
        Field(
            strict=True,
            gt=0,
            allow_inf_nan=False,
            description="The number that stands for full ink in a picture.",
        ),
    ] = None
    fit: Annotated[
        bool, Field(strict=True, description="Pictures of any size, made like the training's.")
    ] = False
    trace: Annotated[bool, Field(strict=True, description="Tell what happened at every step.")] = False
    what_if: WhatIfWish | None = None


class Prediction(BaseModel):
    """One answer."""

    label: int | str
    probability: float
    probabilities: dict[str, float]
    seen: Annotated[
        list[Any] | None, Field(description="The picture, or the steps, that the network read.")
    ] = None
    trace: Annotated[
        dict[str, Any] | None, Field(description="Probabilities, gates and states at every step.")
    ] = None


class Predictions(BaseModel):
    """The answer to a request, in the order of its inputs."""

    schema_: Annotated[int, Field(alias="schema")] = 1
    model: Annotated[str, Field(description="The beginning of the digest of the model.")]
    predictions: list[Prediction]


class StreamWish(_Sent):
    """One message of a stream; exactly one of them."""

    steps: list[Any] | None = None
    save: Literal[True] | None = None
    resume: str | None = None
    reset: Literal[True] | None = None


class ProblemShape(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] | None = None
