"""The learning rate of each step, a function of the step's number alone."""

from __future__ import annotations

import math

from scanline.recipe import TrainSettings


def learning_rate(settings: TrainSettings, step: int) -> float:
    """The learning rate of `step`, counted from 0.

    "one-cycle" rises from a 25th of the peak to it in the first `warmup` share of the steps and falls to
    zero at the end, both as half a cosine. Source: Smith & Topin 2018, with the cosine of later practice.
    """
    if settings.schedule == "constant":
        return settings.learning_rate
    total, rising = settings.total_steps, settings.warmup * settings.total_steps
    if step < rising:
        low, high, share = settings.learning_rate / 25, settings.learning_rate, step / rising
    else:
        low, high, share = settings.learning_rate, 0.0, (step - rising) / max(total - rising, 1)
    return low + (high - low) * (1 - math.cos(math.pi * share)) / 2
