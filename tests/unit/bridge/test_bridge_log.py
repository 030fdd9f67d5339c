"""Log lines and word to systemd."""

import logging
import socket
from pathlib import Path

import pytest

from bridge import log
from bridge.systemd import notify


def test_an_event_is_one_line_of_key_value() -> None:
    line = log.line(logging.INFO, "mqtt_connected", broker="b:1883", reason='two\nlines "x"', no="")
    assert line == (
        'level=info event=mqtt_connected broker=b:1883 reason="two\\nlines \\"x\\"" no=""'
    )


def test_a_state_is_told_once_until_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    state = log.State()
    state.enter(logging.WARNING, "down", detail="after 1 ms", host="h")
    state.enter(logging.WARNING, "down", detail="after 2 ms", host="h")
    state.enter(logging.INFO, "up", host="h")
    state.enter(logging.WARNING, "down", detail="after 3 ms", host="h")
    assert [record.getMessage().split()[1] for record in caplog.records] == [
        "event=down",
        "event=up",
        "event=down",
    ]


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        notify("READY=1", "STATUS=Forwarding")
        assert listener.recv(100) == b"READY=1\nSTATUS=Forwarding"


def test_without_systemd_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
