"""Batches of a training run, ready for the network: one call a step, at most two copies of the values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.data.order import BatchOrder
from scanline.data.source import Indices, SequenceSource
from scanline.data.step_targets import gather_steps, is_labelled
from scanline.data.transforms.augmentation import PictureShift
from scanline.data.transforms.scaler import Scaler
from scanline.data.window_order import WindowOrder


@dataclass(frozen=True, eq=False)
class DeviceBatch:
    """A batch on the device of the network.

    Attributes:
        values: (n, T, F) float32. On the CPU it is overwritten by the next batch of the same loader.
        lengths: (n,) int64 number of steps of each sequence; None if all have T.
        targets: (n,) encoded targets; (n, T) of the steps, -1 or NaN for steps without a label and past the
            end.
        weights: Float32 weight of each target in the loss; None if all weigh 1.
        whole: (N, T, F) of the whole batch, of which this may be a part.
        labelled_steps: Number of labelled steps of the whole batch, if the targets are those of steps.
    """

    values: Tensor
    lengths: Tensor | None
    targets: Tensor
    weights: Tensor | None
    whole: tuple[int, int, int]
    labelled_steps: int = 0


class Loader:
    """Gathers the batch of any step of a run.

    Values are gathered into memory that is allocated once: float32 values straight into the tensor that the
    network reads, where they are standardised in place; uint8 values into a buffer, from which they are
    standardised into the tensor.

    Args:
        source: Training sequences, as the network reads them.
        order: Which sequences make the batch of a step.
        scaler: Standardises the values, or None: then the batch has the raw values as float32.
        shift: Moves pictures at random, or None.
        device: Device of the batches.
        targets: (N,) encoded targets of the sequences, of any dtype, or (S,) of the steps if `source` has
            step targets, in their order; None takes those of `source`.
        class_weights: (K,) weight of each class, for step targets; None if all weigh 1.
    """

    def __init__(
        self,
        source: SequenceSource,
        order: BatchOrder | WindowOrder,
        scaler: Scaler | None = None,
        shift: PictureShift | None = None,
        device: torch.device | str = "cpu",
        targets: NDArray[Any] | None = None,
        class_weights: NDArray[np.float32] | None = None,
    ) -> None:
        self.source, self.order, self.scaler, self.shift = source, order, scaler, shift
        self.device = torch.device(device)
        self._by_step, self._class_weights = source.step_targets is not None, class_weights
        own = source.targets if source.step_targets is None else source.step_targets
        self.targets = own if targets is None else targets
        if self._by_step:
            # Number of labelled steps of each sequence; windows may have some in common.
            before = np.concatenate([[0], np.cumsum(is_labelled(self.targets))])
            self._labelled = before[source.starts + source.lengths] - before[source.starts]
        self._now: list[int] = []
        self._values = torch.empty(0, dtype=torch.float32, device="cpu")
        self._raw: NDArray[Any] = np.empty(0, source.dtype)

    def batch(self, step: int, part: slice = slice(None)) -> DeviceBatch:
        """Return the batch of `step`. It depends only on the arguments, not on earlier calls.

        Args:
            step: Training step, counted from 0.
            part: Which sequences of the batch to return, with the values that they have in the whole batch.
        """
        source, whole = self.source, self.order.at(step)
        if isinstance(self.order, WindowOrder):
            self._now, ahead = self.order.groups(step, part)
            source.expect([*self._now, *ahead])
        indices = whole[part]
        longest = source.max_length if source.uniform else int(source.lengths[whole].max())
        size = len(indices) * longest * source.features
        if size > len(self._values):
            self._allocate(size)
        if self.shift is None:
            batch = source.gather(indices, self._raw)
            values, lengths = batch.values, batch.lengths
            weights = batch.weights
        else:
            values, lengths = self.shift.gather(source, whole, step, part), None
            weights = None if source.weights is None else source.weights[indices]
        # A contiguous prefix of the buffer, so batches of any length reuse the same memory.
        tensor = self._values[: math.prod(values.shape)].view(values.shape)
        if self.scaler is not None:
            self.scaler.apply(values, tensor.numpy())
        # float32 values were gathered directly into the buffer; anything else is converted by this copy.
        elif not np.may_share_memory(values, self._values.numpy()):
            tensor.numpy()[:] = values
        targets, labelled = self._targets(indices, values.shape[1]), 0
        if self._by_step:
            labelled = int(self._labelled[whole].sum())
            if self._class_weights is not None:
                weights = self._class_weights[targets]  # -1 takes some weight, which the loss does not use
        return DeviceBatch(
            tensor.to(self.device),
            None if lengths is None else torch.from_numpy(lengths).to(self.device),
            torch.from_numpy(targets).to(self.device),
            None if weights is None else torch.from_numpy(weights).to(self.device),
            (len(whole), longest, source.features),
            labelled,
        )

    def _targets(self, indices: Indices, width: int) -> NDArray[Any]:
        """Return the targets of some sequences, (n,) or, of their steps, (n, width)."""
        if not self._by_step:
            found: NDArray[Any] = self.targets[indices]
            return found
        return gather_steps(self.targets, self.source.lengths, self.source.starts, indices, width)

    def stop_reading_ahead(self) -> None:
        """Drop row groups that the last batch did not need, until the next batch."""
        self.source.expect(self._now)

    def targets_of(self, step: int) -> Tensor:
        """Return the targets of the whole batch of `step`, (batch_size,) or (batch_size, T)."""
        whole = self.order.at(step)
        targets = self._targets(whole, int(self.source.lengths[whole].max()))
        return torch.from_numpy(targets).to(self.device)

    def _allocate(self, size: int) -> None:
        """Make room for `size` values. Copies to another device start from pinned memory."""
        self._values = torch.empty(
            size, dtype=torch.float32, device="cpu", pin_memory=self.device.type == "cuda"
        )
        # float32 values are gathered where the network reads them; others need a buffer of their own.
        same = self.source.dtype == np.float32
        self._raw = self._values.numpy() if same else np.empty(size, self.source.dtype)
