"""What attempts at any service need: who comes, what became of it, a door to knock at."""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass, replace
from pathlib import Path

from tests.security.certificates import Identity

SECONDS = 5
# How an alert of TLS begins: what is told to who does not speak it.
ALERT = b"\x15\x03"


class Unclear(Exception):  # noqa: N818 - neither admitted nor refused
    """The attempt shows nothing: nobody was there to refuse it, or something else was wrong."""


@dataclass(frozen=True)
class Outcome:
    """Whether it worked, and what the service said."""

    admitted: bool
    answer: str


@dataclass(frozen=True)
class Visitor:
    """Who comes, and how."""

    username: str = ""
    password: str = ""
    identity: Identity | None = None
    client_id: str = "visitor"
    oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: str = ""

    def context(self, authorities: Path | None) -> ssl.SSLContext:
        """What is needed to speak TLS; without authorities whoever answers is believed."""
        context = ssl.create_default_context(cafile=authorities)
        if authorities is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.ciphers:
            context.set_ciphers(self.ciphers)
        context.minimum_version, context.maximum_version = self.oldest, self.newest
        if self.identity:
            context.load_cert_chain(self.identity.certificate, self.identity.key)
        return context

    def outdated(self) -> Visitor:
        """The same, who knows no TLS later than 1.1."""
        oldest, newest = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        return replace(self, oldest=oldest, newest=newest, ciphers="ALL:@SECLEVEL=0")


def knock(
    address: tuple[str, int],
    context: ssl.SSLContext | None,
    request: bytes,
    *,
    before: bytes = b"",
    refusal: bytes = ALERT,
) -> Outcome:
    """Send a request and see whether it is answered, whatever the answer.

    Args:
        address: of the service.
        context: how to speak TLS; None for plain text.
        request: what anybody who is let in has an answer to.
        before: what is sent in plain text before TLS begins; one byte answers it.
        refusal: how an answer begins that means no.

    Raises:
        Unclear: nobody listens, says anything, or is who the authorities vouch for.
    """
    with contextlib.ExitStack() as stack:
        line = stack.enter_context(_connect(address))
        try:
            if before:
                line.sendall(before)
                line.recv(1)
            if context:
                line = stack.enter_context(context.wrap_socket(line, server_hostname=address[0]))
            line.sendall(request)
            answer = line.recv(1024)
        except (ssl.SSLCertVerificationError, TimeoutError) as error:
            message = f"{address[0]}:{address[1]}: {error}"
            raise Unclear(message) from error
        except OSError as error:
            return Outcome(admitted=False, answer=str(error))
    admitted = bool(answer) and not answer.startswith(refusal)
    return Outcome(admitted, answer.decode(errors="replace") or "hung up")


def closed(address: tuple[str, int]) -> Outcome:
    """See whether a port answers that should be closed to this host.

    Raises:
        Unclear: there is no way to the host.
    """
    try:
        socket.create_connection(address, SECONDS).close()
    except (ConnectionRefusedError, TimeoutError) as error:
        return Outcome(admitted=False, answer=str(error))
    except OSError as error:
        message = f"{address[0]}:{address[1]}: {error}"
        raise Unclear(message) from error
    return Outcome(admitted=True, answer="connected")


def _connect(address: tuple[str, int]) -> socket.socket:
    try:
        return socket.create_connection(address, SECONDS)
    except OSError as error:
        message = f"{address[0]}:{address[1]}: {error}"
        raise Unclear(message) from error
