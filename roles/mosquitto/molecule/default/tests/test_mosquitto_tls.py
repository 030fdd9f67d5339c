"""Who gets in by TLS, what a device may do there, and how soon one is out that was revoked."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from testinfra.host import Host

from tests.security.certificates import Identity, Maker
from tests.security.doors import Outcome, Visitor
from tests.security.mqtt import Door

SCENARIO = Path(__file__).resolve().parent.parent
FOLDER = Path("/tmp/edge-telemetry-mosquitto")  # noqa: S108 - as in converge.yml
PASSWORDS, CARDS, PUBLISHERS = 8883, 8884, 8885
OWN = b"sensors/lab/one/telemetry"
ONE = Visitor("one", "test-only-password", client_id="one")


def door(host: Host, port: int) -> Door:
    address = str(host.check_output("hostname -I")).split()[0]
    return Door(address, port, FOLDER / "ca" / "ca1.crt")


def authority(name: str) -> Identity:
    return Identity(FOLDER / "ca" / f"{name}.crt", FOLDER / "ca" / f"{name}.key")


def devices_authority(host: Host) -> str:
    return f"devices-{host.check_output('hostname')}"


def card(host: Host, name: str) -> Visitor:
    folder = FOLDER / "clients" / devices_authority(host)
    return Visitor(identity=Identity(folder / f"{name}.crt", folder / f"{name}.key"))


def publisher(client_id: str = "any") -> Visitor:
    folder = FOLDER / "clients" / "publishers"
    identity = Identity(folder / "publisher.crt", folder / "publisher.key")
    return Visitor(identity=identity, client_id=client_id)


def test_a_device_may_publish_its_own_readings(host: Host) -> None:
    assert door(host, PASSWORDS).tries(ONE, write=OWN).admitted
    cards = door(host, CARDS)
    assert cards.tries(card(host, "card"), write=b"sensors/lab/card/telemetry").admitted
    publishers = door(host, PUBLISHERS)
    assert publishers.tries(publisher(), write=b"sensors/any/other/telemetry").admitted


@pytest.mark.parametrize(
    "topic",
    [
        b"sensors/lab/two/telemetry",
        b"sensors/other/one/telemetry",
        b"sensors/lab/one",
        b"sensors/lab/one/telemetry/more",
        b"sensors/lab/one/../two/telemetry",
        b"sensors/lab/+/telemetry",
        b"sensors/#",
        b"#",
        b"",
        b"/sensors/lab/one/telemetry",
        b"sensors/lab/one/telemetry\x00",
        b"sensors/lab/\xff/telemetry",
        b"ack/one",
        b"$SYS/broker/uptime",
        b"$CONTROL/dynamic-security/v1",
        b"health/one",
    ],
)
def test_a_device_may_publish_nothing_else(host: Host, topic: bytes) -> None:
    assert not door(host, PASSWORDS).tries(ONE, write=topic).admitted


@pytest.mark.parametrize("pattern", [b"#", b"sensors/#", b"sensors/lab/two/telemetry", b"ack/two"])
def test_a_device_hears_nothing_of_others(host: Host, pattern: bytes) -> None:
    def someone_publishes() -> None:
        writes = door(host, PUBLISHERS).tries(publisher(), write=b"sensors/lab/two/telemetry")
        assert writes.admitted, writes

    outcome = door(host, PASSWORDS).tries(ONE, read=pattern, meanwhile=someone_publishes)
    assert not outcome.admitted


@pytest.mark.parametrize("name", ["#", "+", "../one", "one/../two", "", "on\u00e9", "bridge\x00"])
def test_hostile_names_open_nothing(host: Host, name: str) -> None:
    passwords = door(host, PASSWORDS)
    named = Visitor(name, "test-only-password", client_id=name)
    assert not passwords.tries(named, write=OWN).admitted
    # The name of the session is not what counts.
    with_id = Visitor("one", "test-only-password", client_id=name)
    assert not passwords.tries(with_id, write=b"sensors/lab/two/telemetry").admitted


def refusals(host: Host, tmp_path: Path) -> Iterator[tuple[str, Outcome]]:
    """All that come to a door which asks for a certificate and have no right one."""
    maker = Maker(tmp_path)
    own, other = devices_authority(host), maker.self_signed("edge-telemetry other", ca=True)
    for port, topic, name in (
        (CARDS, b"sensors/lab/card/telemetry", "card"),
        (PUBLISHERS, OWN, "publisher"),
    ):
        signer = authority(own if port == CARDS else "publishers")
        wrong = authority("publishers" if port == CARDS else own)
        visitors = {
            "no certificate": None,
            "self-signed": maker.self_signed(name),
            "other authority": maker.signed(name, other),
            "expired": maker.signed(name, signer, days=-1),
            "another kind of client": maker.signed(name, wrong),
            "a host": maker.signed(name, authority("ca1")),
        }
        for kind, identity in visitors.items():
            visitor = Visitor(name, "test-only-password", identity)
            yield f"{port}: {kind}", door(host, port).tries(visitor, write=topic)


def test_only_the_right_certificates_open_a_door(host: Host, tmp_path: Path) -> None:
    admitted = [kind for kind, outcome in refusals(host, tmp_path) if outcome.admitted]
    assert admitted == []


def test_passwords_are_asked_for_and_do_not_travel_in_plain(host: Host) -> None:
    passwords = door(host, PASSWORDS)
    for visitor in (Visitor(), Visitor("one", "wrong"), Visitor("card", "x"), Visitor("one")):
        assert not passwords.tries(visitor, write=OWN).admitted
    plain = Door(passwords.host, PASSWORDS, tls=False)
    assert not plain.tries(ONE, write=OWN).admitted


def test_old_tls_and_weak_ciphers_are_refused(host: Host) -> None:
    passwords = door(host, PASSWORDS)
    weak = {"oldest": ssl.TLSVersion.TLSv1, "newest": ssl.TLSVersion.TLSv1_1}
    old = Visitor("one", "test-only-password", ciphers="ALL:@SECLEVEL=0", **weak)
    assert not passwords.tries(old, write=OWN).admitted
    newest = ssl.TLSVersion.TLSv1_2
    for ciphers, admitted in (("ECDHE-ECDSA-AES128-SHA", False), ("ECDHE+AESGCM", True)):
        visitor = Visitor("one", "test-only-password", newest=newest, ciphers=ciphers)
        assert passwords.tries(visitor, write=OWN).admitted is admitted, ciphers


def test_nobody_takes_the_session_of_another(host: Host) -> None:
    session = "mosquitto_sub -u bridge -P test-only-bridge -i reader -c -q 1 -t sensors/#"
    host.check_output(f"{session} -E")
    passwords = door(host, PASSWORDS)
    assert passwords.tries(ONE, write=OWN).admitted
    # With a clean start it would throw the queue away.
    thief = Visitor("two", "test-only-password", client_id="reader")
    assert passwords.tries(thief, write=b"sensors/lab/two/telemetry").admitted
    card_thief = Visitor(identity=card(host, "card").identity, client_id="reader")
    assert door(host, CARDS).tries(card_thief, write=b"sensors/lab/card/telemetry").admitted
    assert len(host.check_output(f"{session} -C 3 -W 10").split()) == 3


def test_connections_are_bounded(host: Host) -> None:
    passwords = door(host, PASSWORDS)
    with ExitStack() as stack:
        # One that has said nothing is a connection too.
        for _ in range(20):
            silent = socket.create_connection((passwords.host, PASSWORDS))
            stack.enter_context(silent)
        time.sleep(0.5)
        assert not passwords.tries(ONE, write=OWN).admitted
    time.sleep(0.5)
    assert passwords.tries(ONE, write=OWN).admitted


def play(host: Host, folder: Path, **variables: object) -> str:
    """Run the scenario's play again for this one host."""
    name = host.check_output("hostname")
    inventories = (
        SCENARIO / "inventory.yml",
        SCENARIO.parents[3] / "molecule/shared/inventory.yml",
    )
    done = subprocess.run(
        [
            *("ansible-playbook", "--limit", name),
            *(f"--inventory={path}" for path in inventories),
            *("-e", json.dumps(variables), str(SCENARIO / "converge.yml")),
        ],
        cwd=SCENARIO.parents[3],
        env={k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")},
        capture_output=True,
        text=True,
        check=False,
    )
    (folder / "play.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    return done.stdout


def test_who_is_revoked_is_out_at_once_though_connected(host: Host, tmp_path: Path) -> None:
    lost = card(host, "lost-card").identity
    assert lost is not None
    kept = Identity(tmp_path / "kept.crt", tmp_path / "kept.key")
    shutil.copy(lost.certificate, kept.certificate)
    shutil.copy(lost.key, kept.key)
    stolen = Visitor(identity=kept)
    two = Visitor("two", "test-only-password")
    cards, passwords = door(host, CARDS), door(host, PASSWORDS)
    with passwords.enter(two) as by_password, cards.enter(stolen) as by_card:
        play(host, tmp_path, test_devices=["one", "card"])
        assert by_password.ended_after(5) is not None
        assert by_card.ended_after(5) is not None
    # From the list's change to the restart that ends all connections.
    listed = int(host.check_output(f"stat --format=%Y /etc/mosquitto/clients/{CARDS}.crl"))
    show = "systemctl show --value --property=ActiveEnterTimestamp --timestamp=unix mosquitto"
    assert 0 <= int(str(host.check_output(show)).removeprefix("@")) - listed < 60
    assert not cards.tries(stolen, write=b"sensors/lab/lost-card/telemetry").admitted
    assert not passwords.tries(two, write=b"sensors/lab/two/telemetry").admitted
    assert cards.tries(card(host, "card"), write=b"sensors/lab/card/telemetry").admitted
    assert passwords.tries(ONE, write=OWN).admitted


def test_a_device_that_is_added_disturbs_no_other(host: Host, tmp_path: Path) -> None:
    devices = ["one", "card", "three"]
    with door(host, PASSWORDS).enter(ONE) as session:
        play(host, tmp_path, test_devices=devices)
        assert session.ended_after(2) is None
    three = Visitor("three", "test-only-password")
    assert door(host, PASSWORDS).tries(three, write=b"sensors/lab/three/telemetry").admitted
    assert "changed=0" in play(host, tmp_path, test_devices=devices)
