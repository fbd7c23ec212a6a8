"""Alerts: one message to the people who mend things when a run failed. What a failure is, and who noticed it, belongs elsewhere.

Where it goes is a setting, the first that is set:

* ``SSC_ALERT_WEBHOOK``: a JSON body is posted there; its ``text`` is the whole message.
* ``SSC_ALERT_SMTP_URL`` (``smtp://[user:password@]host[:port]``, ``smtps://`` for TLS from the start, ``smtp+starttls://`` for
  TLS after the greeting) with ``SSC_ALERT_TO`` (addresses with commas between them) and perhaps ``SSC_ALERT_FROM``: an e-mail.
* neither: a line in ``data/alerts.jsonl``.

What could not be delivered is written to that file too, with the reason, so no alert is lost.
"""

from __future__ import annotations

import json
import os
import smtplib
import ssl
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sources.errors import SscError
from sources.settings import data_dir

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Alert:
    """What happened, where, and what to do next; ``run_id`` and ``job`` find it in Dagster; ``at`` is ISO 8601 in UTC."""

    what: str
    where: str
    next_step: str
    job: str = ""
    run_id: str = ""
    at: str = ""

    def text(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what, f"接着做 Next: {self.next_step}"]
        if self.run_id:
            lines.append(f"运行 Run: {self.job} {self.run_id}")
        return "\n".join(lines)

    def subject(self) -> str:
        return f"[智慧平安社区] {self.job or self.where} 失败 failed"


def send(alert: Alert, *, folder: Path | None = None) -> str:
    """Deliver an alert. Never raises for a channel that does not answer: it falls back to the file.

    Returns:
        ``webhook``, ``email`` or ``file``: where it went.
    """
    if not alert.at:
        alert = Alert(**{**asdict(alert), "at": datetime.now(UTC).isoformat(timespec="seconds")})
    undelivered = ""
    try:
        if os.environ.get("SSC_ALERT_WEBHOOK"):
            _post(os.environ["SSC_ALERT_WEBHOOK"], alert)
            return "webhook"
        if os.environ.get("SSC_ALERT_SMTP_URL"):
            _mail(os.environ["SSC_ALERT_SMTP_URL"], alert)
            return "email"
    except Exception as error:  # whatever the channel's library raises: the alert must not be lost with it
        undelivered = f"{type(error).__name__}: {error}"
    _write(folder or data_dir(), alert, undelivered)
    return "file"


def _post(url: str, alert: Alert) -> None:
    import httpx

    httpx.post(url, json={"text": alert.text(), **asdict(alert)}, timeout=TIMEOUT_SECONDS).raise_for_status()


def _mail(url: str, alert: Alert) -> None:
    address = urlsplit(url)
    recipients = [name.strip() for name in os.environ.get("SSC_ALERT_TO", "").split(",") if name.strip()]
    if not recipients:
        raise SscError("SSC_ALERT_TO is not set", where="SSC_ALERT_SMTP_URL", next_step="name the addresses that alerts go to")
    if address.scheme not in ("smtp", "smtps", "smtp+starttls") or not address.hostname:
        raise SscError("this is no SMTP address", where="SSC_ALERT_SMTP_URL", next_step="write smtp://user:password@host:port")
    message = EmailMessage()
    message["Subject"] = alert.subject()
    message["From"] = os.environ.get("SSC_ALERT_FROM") or recipients[0]
    message["To"] = ", ".join(recipients)
    message.set_content(alert.text())
    if address.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            address.hostname, address.port or 465, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context()
        )
    else:
        server = smtplib.SMTP(address.hostname, address.port or 25, timeout=TIMEOUT_SECONDS)
    with server:
        if address.scheme == "smtp+starttls":
            server.starttls(context=ssl.create_default_context())
        if address.username:
            server.login(unquote(address.username), unquote(address.password or ""))
        server.send_message(message)


def _write(folder: Path, alert: Alert, undelivered: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    line = asdict(alert) | ({"undelivered": undelivered} if undelivered else {})
    with open(folder / "alerts.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
