"""Embeddings: what the first recurrent layer reads for the categories of a step.

Each categorical feature has a table with a row for each id, which is trained with the other weights. Numbers
are read as they are. A network without categorical features has no tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from scanline.recipe import Size

_MAX_SIZE = 50  # of the rule
_OTHERS = 2  # rows before those of known categories
_Index = Annotated[int, Field(strict=True, ge=0)]


@dataclass(frozen=True)
class Embedding:
    """The table of one categorical feature.

    Attributes:
        feature: Index of the feature among the F values of a step.
        count: V, the number of ids.
        size: D, the number of values of each.
    """

    feature: _Index
    count: Annotated[int, Field(strict=True, ge=2, le=2**24)]
    size: Size


def size_by_rule(count: int) -> int:
    """Return D for V ids: round(1.6 * V**0.56), at most 50.

    Source: `emb_sz_rule` of fastai (Howard & Gugger 2020), found on tables of business data; the limit is
    that of Guo & Berkhahn (2016), "Entity embeddings of categorical variables".
    """
    return int(max(1, min(_MAX_SIZE, round(1.6 * count**0.56))))


def embedded_size(features: int, embeddings: Sequence[Embedding]) -> int:
    """Return E, the width of a step after embedding."""
    return features - len(embeddings) + sum(each.size for each in embeddings)


class Embeddings(nn.Module):
    """Replaces the ids of a step by rows of tables.

    Args:
        features: F, the values of a step.
        embeddings: The tables, in the order of their features.

    Attributes:
        output_size: E, the width of a step after embedding: the numbers, then the rows of the tables.
    """

    def __init__(self, features: int, embeddings: Sequence[Embedding]) -> None:
        super().__init__()
        self.embeddings = tuple(embeddings)
        self.output_size = embedded_size(features, embeddings)
        categorical = {each.feature for each in embeddings}
        self.numeric = [feature for feature in range(features) if feature not in categorical]
        self.tables = nn.ParameterList(
            torch.empty(each.count, each.size, dtype=torch.float32, device=None).normal_(0, 1)
            for each in embeddings
        )

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw the rows of known categories from N(0, 1), as torch.nn.Embedding does.

        Missing and unknown categories have zeros, the mean of the others, as they may not occur in training.
        """
        for table in self.tables:
            table.normal_(generator=generator)
            table[:_OTHERS] = 0

    def forward(self, values: Tensor) -> Tensor:
        """Return what the first layer reads, (..., E).

        Args:
            values: (..., F), the numbers standardised; `values` itself is returned if there are no tables.
        """
        if not self.embeddings:
            return values
        rows = [F.embedding(ids, table) for ids, table in zip(self.ids(values), self.tables, strict=True)]
        numbers = [values[..., self.numeric].to(rows[0].dtype)] if self.numeric else []
        return rows[0] if len(rows) == 1 and not numbers else torch.cat([*numbers, *rows], -1)

    def by_feature(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums (..., F) over the parts of each feature in values of embedded steps (..., E)."""
        if not self.embeddings:
            return values
        sums = np.empty((*values.shape[:-1], len(self.numeric) + len(self.embeddings)))
        first = len(self.numeric)
        sums[..., self.numeric] = values[..., :first]
        for each in self.embeddings:
            sums[..., each.feature] = values[..., first : first + each.size].sum(-1)
            first += each.size
        return sums

    def ids(self, values: Tensor) -> list[Tensor]:
        """Return the ids (...) of each table in `values` (..., F); padding may be NaN and becomes 0."""
        return [values[..., each.feature].nan_to_num(0.0).long() for each in self.embeddings]

    def gradients(self, values: Tensor, by_output: Tensor) -> dict[Tensor, Tensor]:
        """Return the gradient by each table.

        Each row adds up its steps in their order, whatever the number of threads: the bits of autograd.

        Args:
            values: As for `forward`.
            by_output: Gradient by what `forward` returned, (..., E), 0 in padding.
        """
        first, found = len(self.numeric), {}
        for ids, table, each in zip(self.ids(values), self.tables, self.embeddings, strict=True):
            rows = by_output[..., first : first + each.size].contiguous()
            # The derivative of torch.nn.functional.embedding; -1: no id is left out.
            found[table] = torch.ops.aten.embedding_dense_backward(rows, ids, each.count, -1, False)
            first += each.size
        return found
