"""Recipes, records of runs, saved sessions and streamed lines."""

from __future__ import annotations

import os
import pickle

from tests.hostile.attacks.base import Attacks, Evil
from tests.hostile.attacks.pieces import DEEP, entry, put, sparse, tensors
from tests.hostile.attacks.weights import WEIGHTS

ATTACKS = Attacks()

ATTACKS.many(
    "recipe",
    "UsageError",
    {
        "toml_arrays_100000_deep": ("not valid TOML", put("a.toml", b"a = " + b"[" * 10**5 + b"]" * 10**5)),
        "toml_tables_40000_deep": ("not valid TOML", put("a.toml", b"a = " + b"{a = " * 40_000)),
        "toml_a_key_of_100000_parts": ("at most 32 parts", put("a.toml", b"a." * 10**5 + b"a = 1\n")),
        "toml_a_section_of_100000_parts": (
            "at most 32 parts",
            put("a.toml", b"[" + b"a." * 10**5 + b"a]\n"),
        ),
        "toml_a_quoted_key_of_50000_parts": (
            "at most 32 parts",
            put("a.toml", b'"a".' * 50_000 + b"a = 1\n"),
        ),
        "toml_one_word_of_250_kb": ("not valid TOML", put("a.toml", b"a" * 250_000)),
        "toml_of_100_mb": ("SCANLINE_LIMIT_RECIPE_BYTES", sparse("a.toml", b"a = 1\n", 10**8)),
        "toml_a_number_of_5000_digits": ("not valid TOML", put("a.toml", b"seed = " + b"9" * 5000)),
        "toml_30000_unknown_keys": ("more", put("a.toml", b"".join(b"k%d = 1\n" % i for i in range(20_000)))),
        "toml_laughs": (
            "unknown key",
            put(
                "a.toml",
                b'base = "rows"\n' + b"".join(b"[l%d]\nx = [%s]\n" % (i, b'"lol",' * 99) for i in range(300)),
            ),
        ),
        "toml_based_on_a_path": ("base must be one of", put("a.toml", b'base = "../../etc/passwd"\n')),
        "toml_a_name_that_is_a_path": ("name must be", put("a.toml", b'base = "rows"\nname = "../../out"\n')),
        "toml_a_pipe": ("expected a (regular )?file", lambda f: os.mkfifo(f / "a.toml") or f / "a.toml"),
        "toml_a_device": (
            "expected a (regular )?file",
            lambda f: (f / "a.toml").symlink_to("/dev/zero") or f / "a.toml",
        ),
        "toml_not_utf8": ("UTF-8", put("a.toml", b"a = '\xff'")),
        "toml_a_million_units": (
            "model.hidden_size must be <=",
            put("a.toml", b'base = "rows"\n[model]\nhidden_size = 1000000\n'),
        ),
    },
)
ATTACKS.many(
    "run",
    "ModelError",
    {
        "run_a_recipe_of_1_gb": (
            "SCANLINE_LIMIT_RECIPE_BYTES",
            lambda f: sparse("recipe.toml", b"a = 1\n", 10**9)(f).parent,
        ),
        "run_a_recipe_with_a_key_of_100000_parts": (
            "at most 32 parts",
            lambda f: put("recipe.toml", b"a." * 10**5 + b"a = 1\n")(f).parent,
        ),
        "run_a_recipe_100000_deep": (
            "not valid TOML",
            lambda f: put("recipe.toml", b"a = " + b"[" * 10**5)(f).parent,
        ),
        "run_a_recipe_whose_data_are_a_number": (
            "names no data",
            lambda f: put("recipe.toml", b"data = 1\n")(f).parent,
        ),
    },
)
ATTACKS.many(
    "course",
    "ModelError",
    {"course_of_1_gb": ("SCANLINE_LIMIT_COURSE_BYTES", sparse("metrics.jsonl", b"{}\n", 10**9))},
)
ATTACKS.many(
    "course",
    "",
    {
        "course_100000_deep": ("", put("metrics.jsonl", b"[" * 10**5 + b"\n" + b'{"a":' * 10**5)),
        "course_in_no_encoding": ("", put("metrics.jsonl", b"\xff\xfe\n\0\0[\n" * 1000)),
        "course_a_number_of_5000_digits": ("", put("metrics.jsonl", b'{"step": ' + b"9" * 5000 + b"}\n")),
    },
)
ATTACKS.many(
    "record",
    "ModelError",
    {
        "record_of_1_gb": ("SCANLINE_LIMIT_RECORD_BYTES", sparse("result.json", b"{}", 10**9)),
        "record_100000_deep": ("not valid JSON", put("result.json", b"[" * 10**5)),
        "record_a_device": (
            "expected a (regular )?file",
            lambda f: (f / "result.json").symlink_to("/dev/zero") or f / "result.json",
        ),
    },
)
ATTACKS.many(
    "session",
    "ModelError",
    {
        "session_a_pickle": ("damaged", put("session", pickle.dumps(Evil()))),
        "session_100000_deep": ("damaged", put("session", tensors(DEEP))),
        "session_name_twice": ("twice", lambda f: put("session", WEIGHTS["name_twice"][1]())(f)),
        "session_description_deep": (
            "damaged",
            lambda f: put(
                "session", tensors({"__metadata__": {"scanline": "[" * 10**5}, "steps": entry()}, bytes(4))
            )(f),
        ),
        "session_description_a_number": (
            "damaged",
            put("session", tensors({"__metadata__": {"scanline": "1"}, "steps": entry()}, bytes(4))),
        ),
        "session_header_of_2_to_the_63": (
            "damaged",
            lambda f: put("session", WEIGHTS["header_of_2_to_the_63"][1]())(f),
        ),
    },
)
ATTACKS.many(
    "lines",
    "DataError",
    {
        "line_100000_deep": ("line 2: not valid JSON", put("steps", b"[1, 2]\n" + b"[" * 10**5 + b"\n")),
        "line_object_100000_deep": ("line 1: not valid JSON", put("steps", b'{"a":' * 10**5 + b"\n")),
        "line_of_2_mb": ("expected at most 1,000,000 characters", put("steps", b"1," * 10**6 + b"\n")),
        "line_number_of_100000_digits": ("line 1: ", put("steps", b"[" + b"1" * 10**5 + b", 2]\n")),
        "line_zeros": ("line 1: ", put("steps", bytes(4096) + b"\n")),
        "line_nested": ("line 1: expected a number", put("steps", b"[[1], [2]]\n")),
    },
)
