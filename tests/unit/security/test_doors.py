"""What was refused is told apart from what was not there to refuse."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.security.doors import ALERT, Unclear, closed, knock


@contextmanager
def door(answers: Callable[[socket.socket], object]) -> Iterator[tuple[str, int]]:
    """A service on loopback, and what it does with whoever comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            line, _ = listener.accept()
            with line:
                line.recv(100)
                answers(line)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        thread.join()


def nobody() -> tuple[str, int]:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address: tuple[str, int] = listener.getsockname()
        return address


@pytest.mark.parametrize(
    ("answer", "admitted"),
    [(b"welcome", True), (ALERT + b"\x03\x00\x02\x02P", False), (b"", False)],
)
def test_an_answer_is_an_admission_unless_it_says_no(answer: bytes, *, admitted: bool) -> None:
    with door(lambda line: line.sendall(answer)) as address:
        assert knock(address, None, b"?").admitted is admitted


def test_where_nobody_listens_nothing_is_refused() -> None:
    with pytest.raises(Unclear):
        knock(nobody(), None, b"?")


def test_a_port_is_closed_or_not() -> None:
    assert not closed(nobody()).admitted
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert closed(listener.getsockname()).admitted
