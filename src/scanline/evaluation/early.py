"""What a network would answer if every sequence ended earlier: how many steps are enough, and when to
stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scanline.data.memory import MemorySource
from scanline.metrics.intervals import wilson_interval
from scanline.model.inference import alike_batches, to_device
from scanline.model.network import Network

THRESHOLDS = (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
_NUMBERS = 2**24  # of outputs of a batch, at all steps


@torch.inference_mode()
def logits_by_step(network: Network, values: Tensor, lengths: Tensor | None) -> Tensor:
    """(N, T, K): the logits that each sequence gets if it ends after its first 1, 2, ... T steps.

    values: (N, T, F), lengths: (N,) or None, as for the classifier. Past a sequence's own end stand the
    logits of the whole sequence. The last are those of the classifier itself, for every direction and
    readout.
    """
    network.eval()
    N, T = values.shape[:2]
    own = torch.full((N,), T, device=values.device) if lengths is None else lengths
    if network.architecture.bidirectional:  # the backward direction begins anew at every end
        parts = []
        for step in range(1, T + 1):
            ends = own.clamp(max=step)
            parts.append(network(values[:, :step], None if (ends == step).all() else ends))
        return torch.stack(parts, 1)
    outputs = network.outputs(values, lengths).double()  # (N, T, H)
    how = network.architecture.readout
    if how == "mean":
        counts = torch.arange(1, T + 1, device=values.device, dtype=torch.float64)[:, None]
        read = outputs.cumsum(1) / counts
    elif how == "max":
        read = outputs.cummax(1).values
    else:
        read = outputs
    logits = network.logits(read.to(values.dtype if values.is_floating_point() else torch.float32))
    last = (own - 1)[:, None].clamp(max=T - 1)
    steps = torch.minimum(torch.arange(T, device=values.device)[None], last)  # (N, T)
    return logits.gather(1, steps[:, :, None].expand_as(logits))


def accuracy_by_step(
    network: Network,
    part: MemorySource,
    thresholds: Sequence[float] = THRESHOLDS,
    temperature: float = 1.0,
) -> dict[str, Any]:
    """Accuracy against steps read, and what stopping at a confidence would cost and save; ready for JSON.

    thresholds: probabilities at which reading stops; a sequence that never gets there is read to its end.
    temperature: by which logits are divided, for calibrated probabilities. Returns {"steps": for each step
    t {"step", "n", "accuracy", "ci95"}, with n the sequences that are at least as long, and an accuracy
    over all sequences, each with its answer after t steps, or after its own end if that comes first;
    "enough": the first step from which on the accuracy is never below the 95 % interval of that of the whole
    sequences; "stops": for each threshold {"threshold", "accuracy", "ci95", "mean_steps", "share_read",
    "stopped"}, stopped the share that ended early}.
    """
    T, n = part.max_length, len(part)
    right = np.zeros(T, np.int64)
    stopped_right = np.zeros(len(thresholds), np.int64)
    read = np.zeros((len(thresholds), n), np.int64)
    width = network.recurrent.output_size + network.architecture.classes
    for index in alike_batches(part, width, numbers=_NUMBERS):
        values, lengths, _ = to_device(part.gather(index), network.scale.device)
        logits = logits_by_step(network, values, lengths)
        shares = (logits.double() / temperature).softmax(2).cpu().numpy()
        answers, confidence = shares.argmax(2), shares.max(2)  # (n, t)
        hits = answers == part.targets[index][:, None]
        t = hits.shape[1]
        right[:t] += hits.sum(0)
        right[t:] += hits[:, -1].sum()
        for number, threshold in enumerate(thresholds):
            sure = confidence >= threshold
            stop = np.where(sure.any(1), sure.argmax(1) + 1, t)
            stop = np.minimum(stop, part.lengths[index])
            read[number, index] = stop
            stopped_right[number] += hits[np.arange(len(index)), stop - 1].sum()
    accuracy = right / n
    low = wilson_interval(int(right[-1]), n)[0]
    below = np.flatnonzero(accuracy < low)
    return {
        "steps": [
            {
                "step": step + 1,
                "n": int((part.lengths > step).sum()),
                "accuracy": float(accuracy[step]),
                "ci95": list(wilson_interval(int(right[step]), n)),
            }
            for step in range(T)
        ],
        "enough": int(below[-1]) + 2 if below.size else 1,
        "stops": [
            {
                "threshold": threshold,
                "accuracy": int(stopped_right[number]) / n,
                "ci95": list(wilson_interval(int(stopped_right[number]), n)),
                "mean_steps": float(read[number].mean()),
                "share_read": float((read[number] / part.lengths).mean()),
                "stopped": float((read[number] < part.lengths).mean()),
            }
            for number, threshold in enumerate(thresholds)
        ],
    }
