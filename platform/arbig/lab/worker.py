"""Worker: one process of a sweep. A task comes in as a line of JSON, its answer goes out as one.

`python -m arbig.lab.worker FOLDER` with the paths to import from as the first line. Ends with its parent.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import msgspec

from arbig.runtime.child import die_with_parent


def main() -> None:
    die_with_parent(signal.SIGKILL)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a strategy prints is no answer

    def say(words: object) -> None:
        answers.write(json.dumps(words) + "\n")
        answers.flush()

    from arbig.lab.jobs import Runner, Task

    try:
        runner = Runner.in_folder(Path(sys.argv[1]), json.loads(sys.stdin.readline()))
    except Exception as error:
        say({"fatal": f"{type(error).__name__}: {error}".splitlines()[0]})
        return
    say({"ready": os.getpid()})
    for line in sys.stdin:
        say(runner.answer(msgspec.json.decode(line, type=Task)))


if __name__ == "__main__":
    main()
