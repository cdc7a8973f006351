"""The schema of a checkpoint's `state.json`.

The file is sealed with a digest, and a checkpoint of another schema cannot be resumed: unknown keys are
refused.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from scanline.training.records import Finite


class Position(BaseModel):
    """Where a run's own files stood when a checkpoint was made.

    Attributes:
        metrics_bytes: Size of metrics.jsonl.
        log_bytes: Size of log.txt.
        seconds: Duration of the training so far.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    metrics_bytes: Annotated[int, Field(ge=0)]
    log_bytes: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class CheckpointState(BaseModel):
    """Content of a checkpoint's `state.json`, which is sealed: unknown keys are refused.

    Attributes:
        step: Steps done.
        pending_evaluation: Whether the events of this step have not all been yielded yet.
        loss: Loss of this step's batch.
        best_accuracy: Best validation accuracy, or other score, so far; -1 before the first validation.
        best_step: Step of the best validation, 0 before the first.
        bad_evaluations: Validations since the best one.
        position: Where the run's own files stood.
        files: SHA-256 of each tensor file.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    schema_: Literal[2] = Field(alias="schema")
    step: Annotated[int, Field(ge=0)]
    # The names on disk are older than those in the code; a change would need another schema number.
    pending_evaluation: bool = Field(alias="unseen")
    loss: Finite
    best_accuracy: Annotated[float, Field(allow_inf_nan=False, le=1)]
    best_step: Annotated[int, Field(ge=0)]
    bad_evaluations: Annotated[int, Field(ge=0)] = Field(alias="misses")
    position: Position
    files: dict[Literal["model.safetensors", "optimizer.safetensors"], str]
