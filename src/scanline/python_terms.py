"""Messages in the terms of a Python program: parameters and keys of `settings` in place of options."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator

from scanline.errors import ScanlineError
from scanline.recipe import keys

# Other commands in backquotes stay as they are: they are meant for a shell.
_RESUME = re.compile(r"`scanline train --resume --run ([^`]+)`")
_OPTION = re.compile(r"""`[^`]*`|(?<![\w-])--([a-z][a-z-]*[a-z])(?: ('[^']*'|"[^"]*"|[\w.*-]+))?""")
# What follows an option in a sentence and is not its value.
_PROSE = re.compile(
    "a|and|applies|are|chooses|does|for|from|has|if|in|is|lists|measures|must|names|needs|not|or|reads|replaces|"
    "requires|the|to|what|where|which|with|would"
)
_SETTING = re.compile(r"--set ([a-z_.]+)=(\d+)")  # a number needs no quotes
_QUOTES = "'\""
_SECTIONS = ("input", "data")  # sections with options of their own


def in_python(message: str) -> str:
    """Return a message with the Python name of each command-line option in it.

    Args:
        message: Text such as "name the column with --label-column".

    Returns:
        Text such as 'name the column with settings["data.label_column"]'.
    """
    known = set(keys())

    def name(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        parameter = match[1].replace("-", "_")
        settings = [key for section in _SECTIONS if (key := f"{section}.{parameter}") in known]
        place = f'settings["{settings[0]}"]' if settings else parameter
        if match[2] is None or _PROSE.fullmatch(match[2]):
            return place if match[2] is None else f"{place} {match[2]}"
        return f"{place}={match[2] if match[2].isdecimal() else repr(match[2].strip(_QUOTES))}"

    message = _SETTING.sub(r'settings={"\1": \2}', message)
    return _OPTION.sub(name, _RESUME.sub(_resume, message))


def _resume(match: re.Match[str]) -> str:
    """Return the call that resumes the run of a command."""
    return f"`scanline.train(resume={' '.join(shlex.split(match[1]))!r})`"


@contextlib.contextmanager
def python_terms() -> Iterator[None]:
    """Rewrite the messages of errors that leave the block; see `in_python`."""
    try:
        yield
    except ScanlineError as error:
        error.args = (in_python(str(error)), *error.args[1:])
        if error.remedy is not None:
            error.remedy = in_python(error.remedy)
        raise
