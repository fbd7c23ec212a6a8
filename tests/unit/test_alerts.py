"""Alerts over a real HTTP server and a real SMTP conversation on loopback, and what is left where nobody answers."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from orchestration import alerts

ALERT = alerts.Alert(
    what="SSC_TAX_FILING_URL is not set",
    where="tax_filing/filing",
    next_step="set it and pull again",
    job="pull_tax_filing",
    run_id="r-1",
)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WEBHOOK", "SMTP_URL", "TO", "FROM"):
        monkeypatch.delenv(f"SSC_ALERT_{name}", raising=False)


def lines(folder: Path) -> list[dict]:
    path = folder / "alerts.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Webhook(HTTPServer):
    status = 200

    def __init__(self) -> None:
        self.bodies: list[dict] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    server = Webhook()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SSC_ALERT_WEBHOOK", f"http://127.0.0.1:{server.server_port}/hook")
    yield server
    server.shutdown()
    server.server_close()


def test_file_by_default(tmp_path: Path) -> None:
    assert alerts.send(ALERT, folder=tmp_path) == "file"
    [line] = lines(tmp_path)
    assert line["what"] == "SSC_TAX_FILING_URL is not set" and line["where"] == "tax_filing/filing"
    assert line["next_step"] == "set it and pull again" and line["at"].endswith("+00:00") and "undelivered" not in line


def test_webhook(tmp_path: Path, webhook: Webhook) -> None:
    assert alerts.send(ALERT, folder=tmp_path) == "webhook"
    [body] = webhook.bodies
    assert body["text"].splitlines() == [
        "tax_filing/filing: SSC_TAX_FILING_URL is not set",
        "接着做 Next: set it and pull again",
        "运行 Run: pull_tax_filing r-1",
    ]
    assert body["run_id"] == "r-1"
    assert lines(tmp_path) == []


def test_webhook_that_refuses_leaves_a_line_with_the_reason(tmp_path: Path, webhook: Webhook) -> None:
    webhook.status = 503
    assert alerts.send(ALERT, folder=tmp_path) == "file"
    assert "503" in lines(tmp_path)[0]["undelivered"]


def test_webhook_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("SSC_ALERT_WEBHOOK", f"http://127.0.0.1:{free.getsockname()[1]}/")
    assert alerts.send(ALERT, folder=tmp_path) == "file"
    assert "ConnectError" in lines(tmp_path)[0]["undelivered"]


def smtp_server(listener: socket.socket, said: list[str]) -> None:
    """The least of RFC 5321 that takes one message."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rwb") as stream:

        def answer(text: str) -> None:
            stream.write(text.encode() + b"\r\n")
            stream.flush()

        answer("220 test")
        body = False
        for raw in stream:
            line = raw.decode().rstrip("\r\n")
            said.append(line)
            if body:
                if line == ".":
                    body = False
                    answer("250 taken")
                continue
            verb = line[:4].upper()
            if verb == "EHLO":
                stream.write(b"250-test\r\n250 AUTH PLAIN\r\n")
                stream.flush()
            elif verb == "DATA":
                body = True
                answer("354 go on")
            elif verb == "AUTH":
                answer("235 welcome")
            else:
                answer("221 bye" if verb == "QUIT" else "250 ok")
            if verb == "QUIT":
                return


def test_email(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=smtp_server, args=(listener, said), daemon=True)
        thread.start()
        monkeypatch.setenv("SSC_ALERT_SMTP_URL", f"smtp://duty:p%40ss@127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("SSC_ALERT_TO", "a@example.org, b@example.org")
        monkeypatch.setenv("SSC_ALERT_FROM", "warehouse@example.org")
        assert alerts.send(ALERT, folder=tmp_path) == "email"
        thread.join(10)
    assert lines(tmp_path) == []
    assert any(line.startswith("AUTH PLAIN AGR1dHkAcEBzcw==") for line in said), "\\0duty\\0p@ss in base 64"
    assert [line for line in said if line.upper().startswith("RCPT")] == ["rcpt TO:<a@example.org>", "rcpt TO:<b@example.org>"]
    assert "From: warehouse@example.org" in said
    import email
    import email.policy

    start = next(i for i, line in enumerate(said) if line.lower() == "data") + 1
    message = email.message_from_string("\n".join(said[start : said.index(".")]), policy=email.policy.default)
    assert message["Subject"] == "[智慧平安社区] pull_tax_filing 失败 failed"
    assert message.get_content().splitlines()[0] == "tax_filing/filing: SSC_TAX_FILING_URL is not set"  # type: ignore[attr-defined]


@pytest.mark.parametrize(("url", "to", "reason"), [("smtp://127.0.0.1:1", "", "SSC_ALERT_TO"), ("http://x", "a@b", "no SMTP address")])
def test_email_settings_that_are_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, to: str, reason: str) -> None:
    monkeypatch.setenv("SSC_ALERT_SMTP_URL", url)
    monkeypatch.setenv("SSC_ALERT_TO", to)
    assert alerts.send(ALERT, folder=tmp_path) == "file"
    assert reason in lines(tmp_path)[0]["undelivered"]
