"""The supervisor with its programs, the Gateway exchanged for the one on the counter double; of the pages only those
of `ARBIG_TEST_PAGES`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from arbig.runtime import programs, supervisor

LEFT_OUT = {"web", "console", "jupyter"} - set(os.environ.get("ARBIG_TEST_PAGES", "").split())
programs.PROGRAMS = tuple(
    replace(program, module="ctp_gateway") if program.name == "gateway" else program
    for program in programs.PROGRAMS
    if program.name not in LEFT_OUT
)

if __name__ == "__main__":
    sys.exit(supervisor.main())
