"""Error messages for invalid recipes: all faults in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from scanline.errors import did_you_mean, quoted
from scanline.recipe.recipe import DEFAULT, Recipe, keys

_MAX_FAULTS = 64  # faults listed in one message
_RULES = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "model_type": "must be a section",
    "finite_number": "must be finite",
    "string_pattern_mismatch": "must be up to 64 letters, digits, dots, hyphens and underscores",
}


def describe(source: str, faults: Iterable[ErrorDetails], overridden: bool) -> str:
    """Return one line that lists the faults of a recipe.

    Args:
        source: Name of the recipe, for the message.
        faults: Faults as Pydantic reports them.
        overridden: Whether settings were applied on top of the recipe.
    """
    # All faults in one line, so that a recipe is corrected in one pass; bounded, as the file is untrusted.
    lines = []
    all_faults = list(faults)
    for fault in all_faults[:_MAX_FAULTS]:
        key = ".".join(str(part) for part in fault["loc"])
        kind, context, value = fault["type"], fault.get("ctx", {}), fault["input"]
        # Keys come from the file and may have any length: they are cut before the search for similar ones.
        if kind == "extra_forbidden":
            lines.append(f"unknown key {key[:80]!r}" + _nearest(key[:80]))
        elif kind == "missing":
            lines.append(
                f"{key} is missing (add it, or put base = {DEFAULT!r} at the top to use that recipe's values)"
            )
        elif kind == "value_error":
            lines.append(str(context["error"]))
        elif kind == "literal_error":
            lines.append(
                f"{key} must be one of {context['expected']}, got {quoted(value)}"
                + _nearest_choice(value, context)
            )
        else:
            lines.append(f"{key} {_rule(kind, context, fault['msg'])}, got {quoted(value)}")
    if len(all_faults) > _MAX_FAULTS:
        lines.append(f"and {len(all_faults) - _MAX_FAULTS:,} more")
    where = f"{source} with these settings" if overridden else source
    return f"{where}: " + "; ".join(lines)


def _nearest(key: str) -> str:
    same_name = [known for known in keys() if known.rpartition(".")[2] == key.rpartition(".")[2]]
    if same_name:  # a known key in the wrong section
        return f"; did you mean {same_name[0]!r}?"
    return did_you_mean(key, [*keys(), *Recipe.model_fields]) or "; `scanline recipes rows` lists all keys"


def _nearest_choice(value: Any, context: Mapping[str, Any]) -> str:
    choices = [part.strip(" '") for part in str(context["expected"]).replace(" or ", ",").split(",")]
    return did_you_mean(str(value), choices)


def _rule(kind: str, context: Mapping[str, Any], message: str) -> str:
    for limit, words in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
        if limit in context:
            return f"must be {words} {context[limit]:g}"
    return _RULES.get(kind, message[:1].lower() + message[1:])
