"""Interventions that do not fit the network are refused."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from scanline.errors import UsageError
from scanline.explanation.trace import trace
from scanline.explanation.what_if import Clamp, Silence, WhatIf
from tests.explanation.test_trace import TASK, F, T, network
from tests.explanation.test_what_if import CLAMPABLE, sequence

# --- what does not fit


FAULTS = [
    ("lstm", 1, False, {"blank": (0,)}, "blank[0] must be a step from 1 to 7, got 0"),
    ("lstm", 1, False, {"blank": (7, 8)}, "blank[1] must be a step from 1 to 7, got 8"),
    ("lstm", 1, False, {"blank": (1.5,)}, "blank[0] must be a step from 1 to 7, got 1.5"),
    ("lstm", 1, False, {"blank": (True,)}, "blank[0] must be a step from 1 to 7, got True"),
    (
        "lstm",
        1,
        False,
        {"clamp": (Clamp("g", 0),)},
        "clamp[0].gate must be one of i, f, o, the clampable gates of lstm, got 'g'",
    ),
    (
        "gru",
        1,
        False,
        {"clamp": (Clamp("n", 0),)},
        "clamp[0].gate must be one of r, z, the clampable gates of gru, got 'n'",
    ),
    (
        "rnn",
        1,
        False,
        {"clamp": (Clamp("f", 0),)},
        "clamp[0]: rnn has no clampable gates, got 'f'",
    ),
    *(
        (
            "lstm",
            1,
            False,
            {"clamp": (Clamp("f", value),)},
            f"clamp[0].value must be a number from 0 to 1, got {value!r}",
        )
        for value in (-0.01, 1.01, math.nan, math.inf, -math.inf, "1", True)
    ),
    (
        "gru",
        1,
        False,
        {"clamp": (Clamp("z", 0, 2),)},
        "clamp[0].layer must be 1, the network's only layer, or left out, got 2",
    ),
    (
        "gru",
        2,
        False,
        {"clamp": (Clamp("z", 0, 0),)},
        "clamp[0].layer must be a layer from 1 to 2, or left out, got 0",
    ),
    (
        "rnn",
        2,
        False,
        {"silence": (Silence(0, 3),)},
        "silence[0].layer must be a layer from 1 to 2, or left out, got 3",
    ),
    (
        "lstm",
        1,
        False,
        {"clamp": (Clamp("o", 1, 1, "backward"),)},
        "clamp[0].direction must be forward, or left out, as the network reads in one direction, "
        "got 'backward'",
    ),
    (
        "rnn",
        1,
        False,
        {"silence": (Silence(0, None, "backward"),)},
        "silence[0].direction must be forward, or left out, as the network reads in one direction, "
        "got 'backward'",
    ),
    (
        "rnn",
        1,
        True,
        {"silence": (Silence(0, None, "both"),)},
        "silence[0].direction must be forward or backward, or left out for both, got 'both'",
    ),
    ("gru", 1, False, {"silence": (Silence(-1),)}, "silence[0].unit must be a unit from 0 to 3, got -1"),
    (
        "gru",
        1,
        False,
        {"silence": (Silence(3), Silence(4))},
        "silence[1].unit must be a unit from 0 to 3, got 4",
    ),
    (
        "lstm",
        2,
        True,
        {"clamp": (Clamp("f", 0.5, 2), Clamp("f", 0.25, None, "backward"))},
        "clamp[1] must not hold gate f of layer 2, backward, at another value than what_if.clamp[0], 0.5, "
        "got 0.25",
    ),
]


@pytest.mark.parametrize(
    ("cell", "layers", "bidirectional", "wish", "expected"), FAULTS, ids=[each[-1][:60] for each in FAULTS]
)
def test_an_invalid_intervention_is_named_with_the_valid_range(cell, layers, bidirectional, wish, expected):
    with pytest.raises(UsageError, match=f"^{re.escape('what_if.' + expected)}$"):
        trace(
            network(cell, layers, bidirectional),
            sequence(),
            TASK,
            what_if=WhatIf(**wish),
            baseline=np.zeros(F, np.float32),
        )


def test_all_invalid_interventions_are_named_at_once():
    what_if = WhatIf((9,), (Clamp("q", 2, 5, "backward"),), (Silence(4, 2, "backward"),))
    expected = [
        "what_if.blank[0] must be a step from 1 to 7, got 9",
        "what_if.clamp[0].gate must be one of i, f, o, the clampable gates of lstm, got 'q'",
        "what_if.clamp[0].value must be a number from 0 to 1, got 2",
        "what_if.clamp[0].layer must be 1, the network's only layer, or left out, got 5",
        "what_if.clamp[0].direction must be forward, or left out, as the network reads in one direction, "
        "got 'backward'",
        "what_if.silence[0].unit must be a unit from 0 to 3, got 4",
        "what_if.silence[0].layer must be 1, the network's only layer, or left out, got 2",
        "what_if.silence[0].direction must be forward, or left out, as the network reads in one direction, "
        "got 'backward'",
    ]
    with pytest.raises(UsageError, match=f"^{re.escape('; '.join(expected))}$"):
        what_if.check(network().architecture, T)
    assert what_if.faults(network().architecture, T) == expected


def test_the_ends_of_the_valid_range_are_accepted():
    what_if = WhatIf(
        (1, np.int64(7)),
        (Clamp("i", 0, 1), Clamp("f", 1.0, 2, "backward"), Clamp("f", 1)),
        (Silence(0), Silence(3, 2, "forward")),
    )
    assert what_if.faults(network("lstm", 2, True).architecture, T) == []


def test_gates_with_values_from_0_to_1_can_be_clamped():
    assert CLAMPABLE == {
        "lstm": ("i", "f", "o"),
        "gru": ("r", "z"),
        "rnn": (),
        "gru-reset-before": ("r", "z"),
    }
