"""The supervisor with its programs, the Gateway exchanged for the one on the counter double; no pages."""

from __future__ import annotations

import sys
from dataclasses import replace

from arbig.runtime import programs, supervisor

programs.PROGRAMS = tuple(
    replace(program, module="ctp_gateway") if program.name == "gateway" else program
    for program in programs.PROGRAMS
    if program.name not in ("web", "console", "jupyter")
)

if __name__ == "__main__":
    sys.exit(supervisor.main())
