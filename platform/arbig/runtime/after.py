"""After: a program that begins only when a service is ready: `python -m arbig.runtime.after PORT TOKEN_FILE COMMAND...`

Waits with next to nothing loaded, so that pages and notebooks take no time from the trading path, then becomes the
program.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from arbig.runtime.child import die_with_parent
from arbig.runtime.ready import is_ready


def main(arguments: list[str]) -> None:
    die_with_parent()
    port, token_file, *command = arguments
    token = Path(token_file).read_text().strip()
    while not is_ready(int(port), token):
        time.sleep(0.25)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
