"""Attempts at a gateway's broker, by all its doors."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tests.security.attempts import Attempt
from tests.security.certificates import Identity, Maker
from tests.security.doors import Outcome, Visitor
from tests.security.mqtt import Door
from tools.hops import System

PASSWORDS, CERTIFICATES, PUBLISHERS, BRIDGE, PLAIN = 8883, 8884, 8885, 1884, 1883
UNIT = "mosquitto"
REFUSED = r"not authorised|OpenSSL Error|SSL routines|[Pp]rotocol error|[Mm]alformed|refused"
# The broker tells of a refused PUBLISH only where it tells of each PUBLISH.
SILENT = ""
OWN = b"sensors/office/office-1/telemetry"
HOSTILE = {
    "another device's topic": b"sensors/office/office-2/telemetry",
    "another site's topic": b"sensors/cellar/office-1/telemetry",
    "topic with ..": b"sensors/office/office-1/../office-2/telemetry",
    "a device's confirmations": b"ack/office-2",
    "broker's own topic": b"$SYS/broker/uptime",
    "broker's controls": b"$CONTROL/dynamic-security/v1",
}
BROKEN = {
    "topic #": b"#",
    "topic with +": b"sensors/office/+/telemetry",
    "topic of no characters": b"",
    "topic with NUL": b"sensors/office/office-1/telemetry\x00",
    "topic that is no UTF-8": b"sensors/office/\xff/telemetry",
}


@dataclass(frozen=True)
class Gateway:
    """The first gateway of the demo, with the secrets that its controller has of it."""

    system: System
    name: str = "gw1"

    def door(self, port: int, *, tls: bool = True) -> Door:
        return Door(self.system.gateway, port, self.system.authority("ca1") if tls else None, tls)

    def device(self, name: str) -> Visitor:
        """A device with its password."""
        file = self.system.secrets / "devices" / self.name / f"{name}.password"
        return Visitor(name, file.read_text(encoding="utf-8").strip(), client_id=name)

    def identity(self, authority: str, name: str) -> Identity:
        return Identity.beside(self.system.secrets / "clients" / authority / f"{name}.crt")

    def authority(self, name: str) -> Identity:
        return Identity.beside(self.system.authority(name))

    def publish_for_another(self) -> None:
        """What must not be heard by who listens."""
        identity = self.identity("publishers", "simulator")
        publisher = Visitor(identity=identity, client_id="another")
        topic = b"sensors/office/office-2/telemetry"
        outcome = self.door(PUBLISHERS).tries(publisher, write=topic)
        if not outcome.admitted:
            message = f"the simulator's account does not work, so nothing is shown: {outcome}"
            raise AssertionError(message)


def admitted(system: System) -> dict[str, Outcome]:
    """Who has to get in: without that, refusals show nothing."""
    gateway = Gateway(system)
    roof = Visitor(identity=gateway.identity("devices-gw1", "roof-1"))
    publisher = Visitor(identity=gateway.identity("publishers", "simulator"))
    return {
        "device with password": gateway.door(PASSWORDS).tries(
            gateway.device("office-1"), write=OWN
        ),
        "device with certificate": gateway.door(CERTIFICATES).tries(
            roof, write=b"sensors/office/roof-1/telemetry"
        ),
        "publisher": gateway.door(PUBLISHERS).tries(publisher, write=OWN),
    }


def table(system: System, maker: Maker) -> Iterator[Attempt]:
    """All of them."""
    gateway = Gateway(system)
    for port, kind, make, logged in [
        *_by_password(gateway),
        *_by_certificate(gateway, maker),
        *_beside_the_doors(gateway),
    ]:
        yield Attempt(f"MQTT {port}", kind, make, gateway.name, UNIT, logged)


Row = tuple[int, str, Callable[[], Outcome], str]


def _by_password(gateway: Gateway) -> Iterator[Row]:
    tries = gateway.door(PASSWORDS).tries
    device = gateway.device("office-1")
    strangers = {
        "no credentials": Visitor(),
        "wrong password": Visitor("office-1", "wrong"),
        "no password": Visitor("office-1"),
        "another device's password": Visitor("office-2", device.password),
        "unknown device": Visitor("office-9", device.password),
        "device that has a certificate": Visitor("roof-1", device.password),
        "user #": Visitor("#", device.password),
        "user +": Visitor("+", device.password),
        "user ../office-1": Visitor("../office-1", device.password),
        "TLS 1.1": device.outdated(),
        "cipher without authentication": Visitor(
            device.username,
            device.password,
            newest=ssl.TLSVersion.TLSv1_2,
            ciphers="ECDHE-ECDSA-AES128-SHA",
        ),
    }
    for kind, visitor in strangers.items():
        yield PASSWORDS, kind, partial(tries, visitor, write=OWN), REFUSED
    plain = gateway.door(PASSWORDS, tls=False)
    yield PASSWORDS, "without TLS", partial(plain.tries, device, write=OWN), REFUSED
    for kind, topic in HOSTILE.items():
        yield PASSWORDS, kind, partial(tries, device, write=topic), SILENT
    for kind, topic in BROKEN.items():
        yield PASSWORDS, kind, partial(tries, device, write=topic), REFUSED
    for pattern in (b"#", b"sensors/#", b"sensors/office/office-2/telemetry", b"ack/office-2"):
        hears = partial(tries, device, read=pattern, meanwhile=gateway.publish_for_another)
        yield PASSWORDS, f"device listens to {pattern.decode()}", hears, SILENT


def _by_certificate(gateway: Gateway, maker: Maker) -> Iterator[Row]:
    for port, authority, wrong, name, topic in (
        (CERTIFICATES, "devices-gw1", "publishers", "roof-1", b"sensors/office/roof-1/telemetry"),
        (PUBLISHERS, "publishers", "devices-gw1", "simulator", OWN),
    ):
        tries = gateway.door(port).tries
        others = {
            "another kind of client": gateway.authority(wrong),
            "a host": gateway.authority("ca1"),
        }
        identities = maker.refusable(name, gateway.authority(authority), others)
        for kind, identity in identities.items():
            visitor = Visitor(name, "any", identity)
            yield port, kind, partial(tries, visitor, write=topic), REFUSED
    roof = Visitor(identity=gateway.identity("devices-gw1", "roof-1"))
    tries = gateway.door(CERTIFICATES).tries
    yield CERTIFICATES, "another device's topic", partial(tries, roof, write=OWN), SILENT
    publisher = Visitor(identity=gateway.identity("publishers", "simulator"))
    tries = gateway.door(PUBLISHERS).tries
    yield PUBLISHERS, "forged confirmation", partial(tries, publisher, write=b"ack/x"), SILENT
    hears = partial(tries, publisher, read=b"sensors/#", meanwhile=gateway.publish_for_another)
    yield PUBLISHERS, "publisher listens to readings", hears, SILENT


def _beside_the_doors(gateway: Gateway) -> Iterator[Row]:
    """Ports that must not answer from outside; nothing is there that could tell of it."""
    device = gateway.device("office-1")
    for port in (BRIDGE, PLAIN):
        tries = gateway.door(port, tls=False).tries
        yield port, "from another host", partial(tries, device, write=OWN), SILENT
