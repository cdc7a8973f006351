"""Scoring: predictions for packed data sets of any size, on this machine, on Ray or in Spark.

`Scorer` turns Arrow tables of sequences into Arrow tables of predictions, one row for each sequence; `score`
applies it to a whole data set. A sequence that the model cannot read gets its error in a column.
"""

from __future__ import annotations

from scanline.scoring.score_data import Scored, score
from scanline.scoring.scorer import Scorer
from scanline.scoring.spark import SparkFunction, for_spark

__all__ = ["Scored", "Scorer", "SparkFunction", "for_spark", "score"]
