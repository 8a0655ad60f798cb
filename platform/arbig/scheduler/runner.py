"""A run's process: papermill on one notebook. In: `run.json` of its folder. Out: `executed.ipynb`, `report.html`,
`outcome.json`. `python -m arbig.scheduler.runner FOLDER`; with `--report` only the HTML of what was executed so far.

SIGTERM ends the kernel, and what was executed until then is kept. The scheduler's death ends both at once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from arbig.runtime.child import die_with_parent
from arbig.runtime.files import write_whole

ORDER, EXECUTED, REPORT, OUTCOME = "run.json", "executed.ipynb", "report.html", "outcome.json"
KERNEL = "arbig"
HOME = ".kernel"
SPEC = {
    "argv": [sys.executable, "-m", "arbig.scheduler.kernel", "-f", "{connection_file}"],
    "display_name": "ARBIG",
    "language": "python",
}
MOST_WORDS = 400
LOOK_SECONDS = 0.1


def main() -> int:
    die_with_parent(signal.SIGKILL)
    folder = Path(sys.argv[1])
    if sys.argv[2:] == ["--report"]:
        make_report(folder)
        return 0
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    told = threading.Event()
    threading.Thread(target=_end_when_told, args=(told,), daemon=True, name="end").start()
    order = json.loads((folder / ORDER).read_text(encoding="utf-8"))
    error = _execute(folder, order)
    if told.is_set():
        state, error = "KILLED", "it was told to end (SIGTERM)"
    else:
        state = "DONE" if error is None else "FAILED"
    cell = None if state == "DONE" else last_cell(folder)
    write_whole(folder / OUTCOME, json.dumps({"state": state, "error": error, "cell": cell}, ensure_ascii=False))
    if not told.is_set():  # else there is no time: the scheduler has the page made
        make_report(folder)
    return 0


def _end_when_told(told: threading.Event) -> None:
    """SIGTERM, whoever is busy: the kernel is ended, which the main thread notices. One that is only just being started
    must not slip through: whatever is begun after the word is ended too."""
    import psutil

    signal.sigwait({signal.SIGTERM})
    told.set()
    while True:
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        time.sleep(LOOK_SECONDS)


def _execute(folder: Path, order: Mapping[str, Any]) -> str | None:
    """What went wrong, in one line; None when every cell ran."""
    os.environ["JUPYTER_PATH"] = str(_kernel_home(folder))
    import papermill  # type: ignore[import-untyped]
    from nbclient.exceptions import DeadKernelError

    try:
        papermill.execute_notebook(
            order["notebook"],
            str(folder / EXECUTED),
            parameters=order["parameters"],
            kernel_name=KERNEL,
            language="python",
            cwd=order["cwd"],
            progress_bar=False,
            log_output=False,
            store_widget_state=False,
        )
    except papermill.PapermillExecutionError as error:
        return _one_line(f"{error.ename}: {error.evalue}")
    except DeadKernelError:
        return "its kernel died (killed from outside, or out of memory)"
    except Exception as error:  # whatever papermill finds wrong with the notebook itself
        return _one_line(f"{type(error).__name__}: {error}")
    finally:
        shutil.rmtree(folder / HOME, ignore_errors=True)
        _as_saved(folder / EXECUTED, order["kernelspec"])
    return None


def _kernel_home(folder: Path) -> Path:
    """Where jupyter_client finds our kernel."""
    home = folder / HOME
    write_whole(home / "kernels" / KERNEL / "kernel.json", json.dumps(SPEC))
    return home


def _as_saved(path: Path, kernelspec: Mapping[str, Any]) -> None:
    """A person opens the archive with the usual kernel."""
    if path.exists():
        notebook = json.loads(path.read_text(encoding="utf-8"))
        notebook["metadata"]["kernelspec"] = kernelspec
        write_whole(path, json.dumps(notebook, ensure_ascii=False, indent=1) + "\n")


def last_cell(folder: Path) -> int | None:
    """Which code cell it ended in, counted as its In[n]: the one that failed, else the last that was begun."""
    try:
        cells = json.loads((folder / EXECUTED).read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError):
        return None
    states = [cell["metadata"].get("papermill", {}).get("status") for cell in cells if cell["cell_type"] == "code"]
    if "failed" in states:
        return states.index("failed") + 1
    begun = [number for number, state in enumerate(states, start=1) if state not in (None, "pending")]
    return begun[-1] if begun else None


def make_report(folder: Path) -> None:
    """One HTML page that fetches nothing. Code is folded away, but for what the run was given and where it failed."""
    if not (folder / EXECUTED).exists():
        return
    import nbformat
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(raw_template=TEMPLATE)  # type: ignore[no-untyped-call]
    notebook = nbformat.read(folder / EXECUTED, as_version=4)  # type: ignore[no-untyped-call]
    body, _ = exporter.from_notebook_node(notebook)
    order = json.loads((folder / ORDER).read_text(encoding="utf-8"))
    head = f"{order['name']}, {order['due'].replace('T', ' ')}, trading day 交易日 {order['trading_day']}"
    write_whole(folder / REPORT, PAGE.format(title=folder.name, head=head, body=body))


TEMPLATE = """{% extends 'basic/index.html.j2' %}
{% block input_group %}
{% set is_shown = 'injected-parameters' in cell.metadata.tags or cell.metadata.papermill.status == 'failed' %}
<details{{ ' open' if is_shown else '' }}>
<summary>In [{{ cell.execution_count or ' ' }}]</summary>
{{ super() }}
</details>
{% endblock input_group %}
"""
PAGE = """<!doctype html>
<html><head><meta charset="utf-8"><title>{title}</title><meta name="viewport" content="width=device-width">
<style>
:root {{ color-scheme: light dark; }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 15px/1.55 system-ui, sans-serif; }}
pre, code {{ font: 13px/1.45 ui-monospace, monospace; }}
pre {{ overflow-x: auto; }}
.input_area {{ background: #8881; border-radius: 6px; padding: .1rem .8rem; margin: .6rem 0; }}
table {{ border: 0; border-collapse: collapse; display: block; margin: .6rem 0; overflow-x: auto; }}
th, td {{ padding: .2rem .7rem; text-align: right; border: 0; border-bottom: 1px solid #8884; }}
img, svg {{ max-width: 100%; }}
.anchor-link, .prompt {{ display: none; }}
summary, .head {{ color: #888; font: 12px ui-monospace, monospace; }}
</style></head><body>
<p class="head">{head}</p>
{body}
</body></html>
"""


def _one_line(words: str) -> str:
    line = " ".join(words.split())
    return line if len(line) <= MOST_WORDS else f"{line[: MOST_WORDS - 3]}..."


if __name__ == "__main__":
    sys.exit(main())
