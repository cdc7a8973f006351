"""The templates of the pages, rendered by Jinja2."""

from __future__ import annotations

import importlib.resources
import importlib.util
from typing import TYPE_CHECKING

from scanline.errors import MissingExtraError
from scanline.reporting.text import duration

if TYPE_CHECKING:
    from jinja2 import Environment

_PACKAGE = "scanline.reporting"


def check_installed() -> None:
    """Raise MissingExtraError if a package is missing that a report needs."""
    missing = [name for name in ("jinja2", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError("a report", missing, "report")


def template_environment() -> Environment:
    """Return the environment of the templates.

    Raises:
        MissingExtraError: If Jinja2 or Matplotlib is not installed.
    """
    check_installed()
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    # Names of files and classes are untrusted text: everything is escaped except the charts' own SVG.
    # StrictUndefined turns a name that the template misspells into an error instead of an empty string.
    environment = Environment(
        loader=FunctionLoader(resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": lambda value: f"{value:,}", "duration": duration}
    return environment


def resource(name: str) -> str:
    """Return the text of a template or a style sheet; `name` may have a folder."""
    # Package resources, so that it also works from a zip file.
    return (importlib.resources.files(_PACKAGE) / name).read_text(encoding="utf-8")
