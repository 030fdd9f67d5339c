"""Attempts at Spark's master, by messages made here: its own client takes a JVM, and a minute."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from functools import partial

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.security.attempts import Attempt
from tests.security.certificates import Maker
from tests.security.doors import SECONDS, Outcome, Unclear, closed
from tools.hops import System

MASTER = 7077
# Where work could be submitted, or is shown, without a login.
SHUT = {
    6066: "submission by REST",
    8080: "master's page",
    8081: "worker's page",
    4040: "job's page",
}
HOST, UNIT = "core1", "spark-master"
SILENT = ""
UNPROVEN = r"AuthRpcHandler .*closing channel"
# By this name Spark's own programs know each other.
APPLICATION = "sparkSaslUser"
REFUSED = ("Unknown challenge message", "Authentication failed")
# Marks of messages: of the proof by a secret, of the older one by SASL.
_PROOF, _SASL = 0xFB, 0xEA
_ASKS, _ANSWERS, _FAILS = 3, 4, 5
_KEY_BYTES = 16


def admitted(system: System) -> dict[str, Outcome]:
    """Who has to get in: who has the secret."""
    return {"secret": asks(system, proof(system.secret("spark")))}


def table(system: System, maker: Maker) -> Iterator[Attempt]:  # noqa: ARG001 - as others have it
    """All of them."""
    for kind, message in {
        "without proof": message_to_verifier(),
        "guessed secret": proof("guessed-at-random"),
        "another service's secret": proof(system.secret("s3_reader")),
        "SASL": sasl(),
    }.items():
        make = partial(asks, system, message)
        yield Attempt(f"Spark {MASTER}", kind, make, HOST, UNIT, UNPROVEN)
    for port, kind in SHUT.items():
        shut: Callable[[], Outcome] = partial(closed, (system.core, port))
        yield Attempt(f"Spark {port}", f"{kind} from another host", shut, HOST, UNIT, SILENT)


def asks(system: System, body: bytes, port: int = MASTER) -> Outcome:
    """Send a request, as Spark frames it, and see whether it is refused or answered.

    Raises:
        Unclear: nobody is there, or says anything that is known.
    """
    header = struct.pack(">bqi", _ASKS, 1, len(body))
    frame = struct.pack(">q", 8 + len(header) + len(body)) + header + body
    try:
        with socket.create_connection((system.core, port), SECONDS) as line:
            line.sendall(frame)
            with line.makefile("rb") as answers:
                size, kind = struct.unpack(">qb", answers.read(9))
                answer = answers.read(size - 9)
    except (OSError, struct.error) as error:
        message = f"{system.core}:{port}: {error}"
        raise Unclear(message) from error
    said = answer[12:].decode(errors="replace").partition("\n")[0]
    if kind == _FAILS and any(refusal in said for refusal in REFUSED):
        return Outcome(admitted=False, answer=said)
    if kind == _ANSWERS:
        return Outcome(admitted=True, answer=f"{len(answer)} bytes")
    message = f"{system.core}:{port}: {kind} {said}"
    raise Unclear(message)


def proof(secret: str) -> bytes:
    """The first message of who has a secret, which the other side answers only if it has it too.

    It is a new public key, encrypted by a key that comes from the secret and a salt; so Spark's
    `AuthEngine` has it.
    """
    salt = os.urandom(_KEY_BYTES)
    about = APPLICATION.encode() + salt
    key = HKDF(SHA256(), _KEY_BYTES, salt, about).derive(secret.encode())
    nonce = os.urandom(12)
    public = X25519PrivateKey.generate().public_key().public_bytes_raw()
    sealed = nonce + AESGCM(key).encrypt(nonce, public, about)
    return bytes([_PROOF]) + _text(APPLICATION) + _bytes(salt) + _bytes(sealed)


def sasl() -> bytes:
    """The first message of the older proof, with nothing in it; it asks for a challenge."""
    return bytes([_SASL]) + _text(APPLICATION) + _bytes(b"")


def message_to_verifier() -> bytes:
    """A message for the endpoint that each of Spark's programs has, from nobody.

    Whoever is not asked for a proof gets an answer, if only that it makes no sense.
    """
    name = b"endpoint-verifier"
    no_sender, address = b"\x00", b"\x01" + _short(b"nowhere") + struct.pack(">i", MASTER)
    # A text, by Java's serialization.
    content = b"\xac\xed\x00\x05t" + _short(b"attack")
    return no_sender + address + _short(name) + content


def _short(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text


def _bytes(text: bytes) -> bytes:
    return struct.pack(">i", len(text)) + text


def _text(text: str) -> bytes:
    return _bytes(text.encode())
