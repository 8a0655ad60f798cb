"""What starts with six others on two cores loads nothing that it only found lying about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from arbig.runtime.lean import without


def test_a_service_is_run_as_its_module_without_the_weight_of_pretty_tracebacks(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import sys\nimport arbig.gateway.service, arbig.runtime.stack\n"
        "print(__name__, sys.argv[1:], 'structlog' in sys.modules, 'rich' in sys.modules)\n"
    )
    words = [sys.executable, "-m", "arbig.runtime.lean", "shop", "one"]
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said == "__main__ ['one'] True False\n"


def test_a_package_is_hidden_only_inside_and_never_taken_from_who_has_it() -> None:
    with without("json", "ensurepip"):
        import json

        with pytest.raises(ImportError):
            import ensurepip
    import ensurepip

    assert json.loads("1") == 1
    assert ensurepip.version()
