"""What a process that scores sends back: a part, or an error, as a line of JSON."""

from __future__ import annotations

import json

from scanline.errors import DataError, ModelError, ScanlineError, UsageError
from scanline.scoring.job import Part

# The exit code tells the classes apart; a subclass, such as FormatError, comes back as its base class.
_ERRORS: dict[int, type[ScanlineError]] = {
    each.exit_code: each for each in (UsageError, DataError, ModelError)
}


def error_reply(error: ScanlineError) -> str:
    """Return an error as JSON."""
    return json.dumps({"error": str(error), "exit_code": error.exit_code})


def part_of(reply: str | bytes) -> Part:
    """Return the part in a reply. Raises the error if the reply is one."""
    tree = json.loads(reply)
    if "error" in tree:
        raise _ERRORS.get(tree["exit_code"], ScanlineError)(tree["error"])
    return Part.model_validate(tree)
