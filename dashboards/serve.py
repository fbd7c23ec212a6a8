"""Starts Superset: ``.venv-superset/bin/python -m dashboards.serve``. Replaces itself by gunicorn, so Ctrl-C ends everything.

Settings: ``SSC_SUPERSET_HOST``, ``SSC_SUPERSET_PORT`` and ``SSC_SUPERSET_WORKERS`` (2). Nothing is provisioned here.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from dashboards import settings


def _taken(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def main() -> None:
    """Check what is needed, then become gunicorn.

    Raises:
        SystemExit: the port is taken, or Superset was never provisioned; with one sentence.
    """
    host, port = settings.host(), settings.port()
    if _taken(host, port):
        sys.exit(f"Port {port} on {host} is taken: stop what listens there, or set SSC_SUPERSET_PORT to a free port.")
    if not (settings.superset_dir() / "superset.db").exists():
        sys.exit("Superset has not been provisioned in this data folder: run .venv-superset/bin/python -m dashboards.provision first.")
    here = Path(__file__).resolve().parent
    environment = {**os.environ, "SUPERSET_CONFIG_PATH": str(here / "superset_config.py"), "PYTHONPATH": str(here.parent)}
    command = [sys.executable, "-m", "gunicorn", "--bind", f"{host}:{port}"]
    command += ["--workers", os.environ.get("SSC_SUPERSET_WORKERS", "2"), "--worker-class", "gthread", "--threads", "8"]
    command += ["--timeout", "120", "--graceful-timeout", "5", "--log-level", "warning", "superset.app:create_app()"]
    print(f"Superset: http://{host}:{port}/superset/dashboard/transparency/ (Ctrl-C ends it)", flush=True)
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    main()
