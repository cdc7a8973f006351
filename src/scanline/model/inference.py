"""The only batched inference: whoever wants answers for many sequences asks here."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.data.batches import Batch, gather
from scanline.data.sequences import Sequences
from scanline.model.classifier import SequenceClassifier


def to_device(batch: Batch, device: torch.device | str) -> tuple[Tensor, Tensor | None, Tensor]:
    """(values, lengths or None, labels) of a batch as tensors on `device`."""
    lengths = None if batch.lengths is None else torch.tensor(batch.lengths, device=device)
    return torch.tensor(batch.values, device=device), lengths, torch.tensor(batch.labels, device=device)


@torch.inference_mode()
def predict_logits(
    classifier: SequenceClassifier, sequences: Sequences, batch_size: int = 512
) -> NDArray[np.float32]:
    """Logits (N, K) for all sequences, without dropout; the classifier's training mode is left as it was."""
    device = classifier.scale.device
    training = classifier.training
    classifier.eval()
    try:
        parts = []
        for start in range(0, len(sequences), batch_size):
            values, lengths, _ = to_device(gather(sequences, slice(start, start + batch_size)), device)
            parts.append(classifier(values, lengths).cpu().numpy())
    finally:
        classifier.train(training)
    return np.concatenate(parts)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities (N, K) in float64; each row sums to 1."""
    return torch.from_numpy(logits).double().softmax(1).numpy()


def mean_loss(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean cross-entropy in nats."""
    target = torch.from_numpy(labels)
    return float(torch.nn.functional.cross_entropy(torch.from_numpy(logits).double(), target))
