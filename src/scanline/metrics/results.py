"""What the metrics of every task have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

Interval = tuple[float, float]


class Result(BaseModel):
    """An immutable result that is written as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return self.model_dump(mode="json", by_alias=True)


class Metrics(Result):
    """The metrics of one split. Their JSON form is written to `result.json`.

    Attributes:
        n: Number of sequences; of labelled steps if each step has a prediction.
    """

    n: int
