"""Embeddings: what the network reads of a step, with a row of a table in place of each category.

Each categorical feature has a table with a row for each id, which is trained with the other weights. Numbers
are read as they are. A network without categorical features has no tables.

Static features have one value for a whole sequence, which every step repeats. The recurrent layers do not
read them: what is embedded of them comes last, to be divided from the rest and joined with the pooled state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
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


class Embeddings(nn.Module):
    """Replaces the ids of a step by rows of tables.

    Args:
        features: F, the values of a step.
        embeddings: The tables, in the order of their features.
        static: Indices of the static features.

    Attributes:
        output_size: E, the width of an embedded step that the recurrent layers read: the numbers, then the
            rows of the tables.
        static_size: P, the width of the static features after that: numbers, then rows; 0 if there are none.
        numeric: The features that are numbers, static ones included.
    """

    def __init__(self, features: int, embeddings: Sequence[Embedding], static: Sequence[int] = ()) -> None:
        super().__init__()
        self.embeddings = tuple(embeddings)
        self.static = tuple(static)
        tables, beside = {each.feature: each.size for each in embeddings}, set(static)
        self.numeric = [feature for feature in range(features) if feature not in tables]
        # (feature, width) in the order of the output.
        order = sorted(range(features), key=lambda feature: (feature in beside, feature in tables))
        self._parts = [(feature, tables.get(feature, 1)) for feature in order]
        self.static_size = sum(width for feature, width in self._parts if feature in beside)
        self.output_size = sum(width for _, width in self._parts) - self.static_size
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

    @property
    def changes(self) -> bool:
        """Whether the network reads anything but the values of a step as they are."""
        return bool(self.embeddings or self.static)

    def forward(self, values: Tensor) -> Tensor:
        """Return embedded steps, (..., E + P): what the recurrent layers read, then the static features.

        Args:
            values: (..., F), the numbers standardised; `values` itself is returned if nothing changes.
        """
        if not self.changes:
            return values
        tables = zip(self.embeddings, self.ids(values), self.tables, strict=True)
        rows = {each.feature: F.embedding(ids, table) for each, ids, table in tables}
        if len(self._parts) == 1:
            return rows[0]
        dtype = next(iter(rows.values())).dtype if rows else values.dtype
        # Neighbouring numbers are taken at once.
        joined = []
        for embedded, parts in groupby(self._parts, lambda part: part[0] in rows):
            features = [feature for feature, _ in parts]
            joined += [rows[each] for each in features] if embedded else [values[..., features].to(dtype)]
        return torch.cat(joined, -1)

    def divide(self, embedded: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what the recurrent layers read, (N, T, E), and the static features, (N, P), or None.

        Args:
            embedded: What `forward` returned for sequences, (N, T, E + P). The first step of each, which is
                never padding, has its static features.
        """
        if not self.static:
            return embedded, None
        return embedded[..., : self.output_size], embedded[..., 0, self.output_size :]

    def by_feature(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums (..., F) over the parts of each feature in embedded steps (..., E + P)."""
        if not self.changes:
            return values
        sums, first = np.empty((*values.shape[:-1], len(self._parts))), 0
        for feature, width in self._parts:
            sums[..., feature] = values[..., first : first + width].sum(-1)
            first += width
        return sums

    def ids(self, values: Tensor) -> list[Tensor]:
        """Return the ids (...) of each table in `values` (..., F); padding may be NaN and becomes 0."""
        return [values[..., each.feature].nan_to_num(0.0).long() for each in self.embeddings]

    def gradients(self, values: Tensor, by_output: Tensor) -> dict[Tensor, Tensor]:
        """Return the gradient by each table.

        Each row adds up its steps in their order, whatever the number of threads: the bits of autograd.

        Only for networks without static features.

        Args:
            values: As for `forward`.
            by_output: Gradient by what `forward` returned, (..., E), 0 in padding.
        """
        first, found = self.output_size - sum(each.size for each in self.embeddings), {}
        for ids, table, each in zip(self.ids(values), self.tables, self.embeddings, strict=True):
            rows = by_output[..., first : first + each.size].contiguous()
            # The derivative of torch.nn.functional.embedding; -1: no id is left out.
            found[table] = torch.ops.aten.embedding_dense_backward(rows, ids, each.count, -1, False)
            first += each.size
        return found
