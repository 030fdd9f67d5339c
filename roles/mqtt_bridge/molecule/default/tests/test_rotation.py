"""Certificates and authorities change while readings flow; and one that nobody renewed in time."""

import json
import os
import ssl
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from test_mqtt_bridge import SUBSCRIBED, await_on_host, await_values
from testinfra.host import Host

from tests.security.certificates import Identity, Maker
from tools.pipeline import eventually

pytestmark = pytest.mark.skipif(
    "EDGE_LONG" not in os.environ, reason="takes minutes: `make test-full` sets EDGE_LONG"
)

SCENARIO = Path(__file__).resolve().parent.parent
ROOT = SCENARIO.parents[3]
AUTHORITIES = Path("/tmp/edge-telemetry-mqtt-bridge/ca")  # noqa: S108 - as in converge.yml
HOME = "/etc/edge-telemetry/tls/mosquitto"
RATE = 50
# Another one each time, so that the tests can be run again.
NEW = f"ca-{uuid.uuid4().hex[:6]}"


def play(host: Host, **variables: object) -> None:
    """Run the broker's part of the scenario's play again for this one host."""
    inventories = (SCENARIO / "inventory.yml", ROOT / "molecule/shared/inventory.yml")
    extra = {"broker_alone": True} | variables
    done = subprocess.run(
        [
            *("ansible-playbook", "--limit", host.check_output("hostname")),
            *(f"--inventory={path}" for path in inventories),
            *("-e", json.dumps(extra), str(SCENARIO / "converge.yml")),
        ],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def address(host: Host) -> str:
    return str(host.check_output("hostname -I")).split()[0]


def served(host: Host) -> x509.Certificate:
    """What the broker shows now."""
    return x509.load_pem_x509_certificate(
        ssl.get_server_certificate((address(host), 8883)).encode()
    )


@contextmanager
def load(host: Host, authorities: Path) -> Iterator[tuple[str, set[bytes]]]:
    """A device that publishes by TLS without a pause, and waits for each acknowledgement."""
    site, sent, stop = uuid.uuid4().hex, set[bytes](), threading.Event()
    client = Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set("device", "test-only-device")
    client.tls_set(str(authorities))
    client.reconnect_delay_set(min_delay=1, max_delay=1)
    client.max_inflight_messages_set(1000)
    acknowledged = set[int]()
    client.on_publish = lambda _client, _userdata, mid, _code, _properties: acknowledged.add(mid)
    client.connect(address(host), 8883)
    client.loop_start()
    # A message calls itself failed when there was no connection, and is sent all the same later.
    published = []

    def publish() -> None:
        while not stop.wait(1 / RATE):
            payload = b"%d" % len(sent)
            topic = f"sensors/{site}/d1/telemetry"
            published.append(client.publish(topic, payload, qos=1).mid)
            sent.add(payload)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield site, sent
    finally:
        stop.set()
        thread.join()
    eventually("all acknowledgements", lambda: set(published) - acknowledged, lambda left: not left)
    client.disconnect()
    client.loop_stop()


def test_keys_and_authorities_change_under_load_and_nothing_is_lost(
    host: Host, tmp_path: Path
) -> None:
    new, old = NEW, served(host)
    # All know the new authority before it signs; the device too.
    play(host, tls_certificate_authorities=["ca1", new])
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join((AUTHORITIES / f"{name}.crt").read_bytes() for name in ("ca1", new)))
    with load(host, both) as (site, sent):
        play(host, tls_certificate_authorities=[new, "ca1"], tls_certificate_new_key=True)
        assert served(host).public_key() != old.public_key()
        assert served(host).issuer.rfc4514_string().endswith(new)
        play(host, tls_certificate_authorities=[new])
        time.sleep(2)
    await_values(host, site, sent)
    await_on_host(host, SUBSCRIBED)


def test_after_the_end_of_the_certificate_readings_wait_until_it_is_renewed(
    host: Host, tmp_path: Path
) -> None:
    trusted = "ca1" if served(host).issuer.rfc4514_string().endswith("ca1") else NEW
    authority = Identity(AUTHORITIES / f"{trusted}.crt", AUTHORITIES / f"{trusted}.key")
    ended = Maker(tmp_path).signed(address(host), authority, days=-1)
    with load(host, authority.certificate) as (site, sent):
        for file, name in ((ended.certificate, "certificate"), (ended.key, "key")):
            # In place, so that owner and rights stay.
            host.run_expect([0], f"printf %s '{file.read_text('utf-8')}' > {HOME}/{name}.pem")
        host.check_output("systemctl restart mosquitto")
        # What the device says of the certificate.
        await_on_host(
            host, "journalctl --unit=mosquitto --since=-30s | grep -q 'alert certificate expired'"
        )
        play(host, tls_certificate_authorities=[trusted])
    await_values(host, site, sent)
    verify = f"openssl verify -CAfile {HOME}/ca.pem {HOME}/certificate.pem"
    assert "OK" in host.check_output(verify)
