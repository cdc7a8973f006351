"""The learning rate of each step: a function of the step's number alone, so a resumed run needs no state."""

from __future__ import annotations

import math

from scanline.recipe import TrainSettings


def learning_rate(settings: TrainSettings, step: int) -> float:
    """Return the learning rate of a step.

    "one-cycle" rises from a 25th of the peak to the peak in the first `warmup` fraction of the steps, and
    falls to zero at the end. Both are half a cosine.

    Args:
        settings: Schedule, peak and warm-up of the recipe.
        step: Number of the step, counted from 0.

    Source: Smith and Topin (2018), with the cosine of later practice.
    """
    if settings.schedule == "constant":
        return settings.learning_rate
    total = settings.total_steps
    warmup = settings.warmup * total
    if step < warmup:
        low, high, fraction = settings.learning_rate / 25, settings.learning_rate, step / warmup
    else:
        # `max` avoids a division by zero if the warm-up covers all steps.
        low, high, fraction = settings.learning_rate, 0.0, (step - warmup) / max(total - warmup, 1)
    return low + (high - low) * (1 - math.cos(math.pi * fraction)) / 2
