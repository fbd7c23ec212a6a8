"""What stops the demo before it starts, and that nothing it started survives it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from orchestration import serve
from orchestration.demo import month_before
from sources.errors import SscError
from sources.settings import root


def test_a_taken_port_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("SSC_SUPERSET_PORT", str(port))
        with pytest.raises(SscError, match=f"port {port} is taken.* Next: .*set SSC_SUPERSET_PORT to a free port"):
            serve.check_ports()


def test_a_full_disk_is_one_clear_sentence(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(data)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_200_000_000))
    with pytest.raises(SscError, match=r"only 1\.2 GB are free, 3 GB are needed.*Next: make room"):
        serve.check_disk(data)


def test_a_missing_python_is_one_clear_sentence(tmp_path: Path) -> None:
    shutil.copy(root() / "Makefile", tmp_path / "Makefile")
    (tmp_path / "requirements").mkdir()
    for name in ("product.txt", "superset.txt"):
        (tmp_path / "requirements" / name).touch()
    done = subprocess.run(["make", "setup", "PYTHON=python3.11-is-not-here"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and "Python 3.11 is missing: install it, or name it with PYTHON=" in done.stdout


def test_children_and_their_children_end_with_the_block(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    script = f"import subprocess, sys; c = subprocess.Popen(['sleep', '600']); open({str(noted)!r}, 'w').write(str(c.pid)); c.wait()"
    with serve.children() as group:
        group.start("one", [sys.executable, "-c", script])
        deadline = time.monotonic() + 20
        while not noted.exists() or not noted.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    grandchild = int(noted.read_text())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(grandchild, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{grandchild}/stat").read_text().split()[2] == "Z":  # dead, and waiting for init to notice
            return
        time.sleep(0.05)
    os.kill(grandchild, signal.SIGKILL)
    raise AssertionError("a grandchild outlived the block")


def test_a_month_before() -> None:
    assert month_before(datetime.fromisoformat("2026-11-01T00:00+08:00")) == datetime.fromisoformat("2026-10-01T00:00+08:00")
    assert month_before(datetime.fromisoformat("2026-03-01T00:00+08:00")) == datetime.fromisoformat("2026-02-01T00:00+08:00")


def test_the_collector_is_a_child_where_a_server_of_messages_has_an_address(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve.children() as group:
        serve.start_collector(group)
        assert group.running == {}
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            monkeypatch.setenv("SSC_FIRE_DETECTION_LIVE_URL", f"mqtt://127.0.0.1:{nobody.getsockname()[1]}")
            serve.start_collector(group)
            heartbeat = data / "spool" / "collector.json"
            deadline = time.monotonic() + 30
            while not heartbeat.exists():
                assert time.monotonic() < deadline and group.running["collector"].poll() is None
                time.sleep(0.05)
    assert json.loads(heartbeat.read_text())["ended"] and '"event": "ended"' in (data / "logs" / "collector.log").read_text()


def test_one_child_ends_alone() -> None:
    with serve.children() as group:
        for name in ("one", "two"):
            group.start(name, ["sleep", "600"])
        one = group.running["one"]
        group.end("one")
        assert one.poll() is not None and list(group.running) == ["two"] and group.running["two"].poll() is None


def test_a_term_ends_it_where_a_shell_had_it_begin_without_interrupts(tmp_path: Path) -> None:
    """In the background of a script INT is ignored, and Dagster's runs in the same process map TERM to INT."""
    noted = tmp_path / "pid"
    code = f"""
import sys
from dagster._utils.interrupts import setup_interrupt_handlers
from orchestration import serve
with serve.children() as group:
    child = group.start("one", [sys.executable, "-c", "import time; time.sleep(600)"])
    setup_interrupt_handlers()
    open({str(noted)!r}, "w").write(str(child.pid))
    group.wait()
"""
    ignoring = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]
    process = subprocess.Popen([*ignoring, sys.executable, "-c", code], cwd=root(), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not noted.exists() or not noted.read_text():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
        process.wait(timeout=30)
    finally:
        process.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text()), 0)
