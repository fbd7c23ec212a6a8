"""Secrets: made once, whoever asks first, readable by the owner alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sources.settings import secret


def test_secret_is_the_same_for_threads_that_ask_at_the_same_moment(data: Path) -> None:
    for number in range(20):
        together = threading.Barrier(8)

        def ask(together: threading.Barrier = together, name: str = f"key{number}") -> str:
            together.wait()
            return secret(name)

        with ThreadPoolExecutor(8) as threads:
            answers = {answer.result() for answer in [threads.submit(ask) for _ in range(8)]}
        assert answers == {(data / "secrets" / f"key{number}").read_text()}
    assert not list((data / "secrets").glob(".*"))


def test_secret_is_readable_by_the_owner_alone(data: Path) -> None:
    assert len(secret("one")) >= 32
    assert (data / "secrets" / "one").stat().st_mode & 0o777 == 0o600
    assert (data / "secrets").stat().st_mode & 0o777 == 0o700
