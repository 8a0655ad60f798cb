"""JupyterLab's process: `python -m arbig.web.jupyter`, in notebooks/, bound to this machine, behind Web's log-in.

Its own random token stays in a file of mode 0600 for programs that need it; no link ever shows it.
"""

from __future__ import annotations

import json
import os
import sys

from arbig.runtime.child import die_with_parent
from arbig.runtime.lean import without
from arbig.runtime.settings import EXIT_CONFIG, Settings, SettingsError, load_settings, private_folder, secret_file

# Panel's previews: two seconds of every start, and the console has a process of its own.
NOT_LOADED = {"panel.io.jupyter_server_extension": False}


# JupyterLab would ask each new browser whether it may fetch news from outside.
OVERRIDES = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}


def arguments(settings: Settings) -> list[str]:
    notebooks = settings.root / "notebooks"
    notebooks.mkdir(exist_ok=True)
    own = private_folder(settings.run / "jupyterlab")
    (own / "overrides.json").write_text(json.dumps(OVERRIDES), encoding="utf-8")
    return [
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={settings.port('jupyter')}",
        "--ServerApp.port_retries=0",
        "--ServerApp.open_browser=False",
        f"--ServerApp.root_dir={notebooks}",
        f"--ServerApp.allow_root={os.getuid() == 0}",
        "--ServerApp.identity_provider_class=arbig.web.jupyter_door.HouseIdentity",
        "--ServerApp.log_level=WARN",
        "--LabApp.news_url=None",
        f"--LabApp.app_settings_dir={own}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        f"--ServerApp.jpserver_extensions={NOT_LOADED}",
    ]


def main() -> int:
    die_with_parent()
    os.nice(5)  # kernels inherit it: a sweep in a notebook does not hold up a live order
    try:
        settings = load_settings()
        token_file = settings.run / "jupyter_token"
        secret_file(token_file)
        os.environ["JUPYTER_RUNTIME_DIR"] = str(private_folder(settings.run / "jupyter"))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    os.environ["JUPYTER_TOKEN_FILE"] = str(token_file)
    os.environ.pop("JUPYTER_TOKEN", None)
    # jsonschema would build the grammar of international addresses, for a check that nothing asks for.
    with without("rfc3987_syntax"):
        from jupyterlab import commands  # type: ignore[import-untyped]

    # Where there is node it would be started, to ask yarn where to fetch what is built; nothing is built here.
    commands._yarn_config = lambda logger: {"yarn config": {}, "npm config": {}}
    from jupyterlab.labapp import LabApp  # type: ignore[import-untyped]

    LabApp.launch_instance(arguments(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
