"""A process that scores units for another one: `python -m scanline.scoring.worker`.

It reads lines of JSON from standard input: first what `PartScorer.to_json` returned, then a unit a line. For
each unit it prints a line: its part, or an error. It ends as soon as its input does, even while it scores, so
that nothing is left of a job whose first process was killed.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import BinaryIO

from scanline.errors import ScanlineError


def main() -> None:
    """Serve units until the input ends."""
    # Whatever else is printed must not come between the replies.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, lines), daemon=True).start()
    score = None
    state = json.loads(lines.get())
    while True:
        unit = json.loads(lines.get())
        try:
            if score is None:
                from scanline.scoring.parts import PartScorer

                score = PartScorer.from_json(state)
            from scanline.scoring.work import Unit

            reply = score(Unit(**unit)).model_dump_json()
        except ScanlineError as error:
            from scanline.scoring.replies import error_reply

            reply = error_reply(error)
        replies.write(reply.encode() + b"\n")
        replies.flush()


def _read(stream: BinaryIO, lines: queue.SimpleQueue[bytes]) -> None:
    while line := stream.readline():
        lines.put(line)
    # Parts appear whole or not at all, so that there is nothing to wait for.
    os._exit(0)


if __name__ == "__main__":
    main()
