"""Scoring in Spark: the scorer as a function for `DataFrame.mapInArrow`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scanline.scoring.columns import require_pyarrow
from scanline.scoring.scorer import Scorer, check_scorable

if TYPE_CHECKING:
    import pyarrow

_TYPES = {"string": "string", "double": "double", "int32": "int", "list": "array<double>"}


@dataclass(frozen=True)
class SparkFunction:
    """What `mapInArrow` needs: a function of batches, and the schema of its result.

    Attributes:
        function: Turns batches of sequences into batches of scores.
        schema: Columns of the scores, in Spark's notation.
    """

    function: Callable[[Iterable[Any]], Iterator[Any]]
    schema: str


def for_spark(
    run: str | Path, calibrated: bool = False, stop_at: float | None = None, split: str | None = None
) -> SparkFunction:
    """Return a model as a function that Spark applies to the rows of a packed data set.

        scoring = scanline.scoring.for_spark("runs/activity")
        sequences = spark.read.parquet("s3a://bucket/packed/all-[0-9]*.parquet")
        scores = sequences.mapInArrow(scoring.function, scoring.schema)

    The function carries the path and the digest of the model: it must be at the same path on every machine.

    Args:
        run: A run directory or a model folder.
        calibrated: Whether probabilities are calibrated.
        stop_at: Adds the first step after which a class has this probability.
        split: Value of the column split.

    Raises:
        ModelError: If the model cannot be used.
        UsageError: If `stop_at` is no probability, or does not fit the model.
    """
    scorer = Scorer.open(run, calibrated, stop_at)
    check_scorable(scorer.model)
    columns = [f"{each.name} {_type_of(each.type)}" for each in scorer.schema]
    return SparkFunction(_Function(scorer, split).apply, ", ".join(columns))


@dataclass(frozen=True)
class _Function:
    scorer: Scorer
    split: str | None

    # A bound method, as Spark counts the arguments of the function.
    def apply(self, batches: Iterable[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
        for batch in batches:
            yield from self.scorer(batch, self.split).to_batches()


def _type_of(kind: Any) -> str:
    pa = require_pyarrow()
    return _TYPES["list" if pa.types.is_list(kind) else str(kind)]
