"""The broker as devices and the bridge use it."""

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from testinfra.backend.base import CommandResult
from testinfra.host import Host

from tools.exposure import exposure

DEVICE = "-u device -P test-only-device"
BRIDGE = "-u bridge -P test-only-bridge"
SESSION = f"mosquitto_sub {BRIDGE} -i reader -c -q 1 -t 'sensors/#'"


def publish(host: Host, login: str, topic: str, message: str) -> CommandResult:
    return host.run(f"mosquitto_pub {login} -V 5 -q 1 -t {topic} -m {message}")


def kill(host: Host) -> None:
    """Kill the broker and wait until systemd's new one answers."""
    host.check_output("systemctl kill --signal=KILL mosquitto")
    attempt = f"mosquitto_sub {BRIDGE} -t sensors/s1/d1/telemetry -E"
    host.check_output(f"sleep 1; until {attempt}; do sleep 0.1; done")


def leave_session(host: Host) -> None:
    """Make a persistent session that subscribes and goes away, its queue empty."""
    host.check_output(f"mosquitto_sub {BRIDGE} -i reader -E -t nothing")
    host.check_output(f"{SESSION} -E")


def publish_all(host: Host, messages: list[str]) -> None:
    """Publish, and wait for each acknowledgement (mosquitto_pub reading lines does not)."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set("device", "test-only-device")
    client.connect(host.check_output("hostname -I").split()[0])
    client.loop_start()
    sent = [client.publish("sensors/s1/d1/telemetry", message, qos=1) for message in messages]
    for message in sent:
        message.wait_for_publish(timeout=60)
        assert message.is_published()
    client.disconnect()
    client.loop_stop()


def collect(host: Host, number: int) -> list[str]:
    heard: str = host.run(f"{SESSION} -C {number} -W 10").stdout
    return heard.split()


def test_a_reading_reaches_a_subscriber(host: Host) -> None:
    heard = host.check_output(
        f"(sleep 1; mosquitto_pub {DEVICE} -q 1 -t sensors/s1/d1/telemetry -m warm) & "
        f"mosquitto_sub {BRIDGE} -q 1 -t 'sensors/+/+/telemetry' -C 1 -W 10"
    )
    assert heard == "warm"


def test_strangers_are_refused(host: Host) -> None:
    for login in ("", "-u device -P wrong", "-u nobody -P test-only"):
        result = publish(host, login, "sensors/s1/d1/telemetry", "x")
        assert result.rc != 0
        assert "ot authori" in result.stderr


def test_rights_are_kept(host: Host) -> None:
    leave_session(host)
    assert "ot authori" in publish(host, BRIDGE, "sensors/s1/d1/telemetry", "forged").stderr
    assert publish(host, DEVICE, "sensors/s1/d1/telemetry", "real").rc == 0
    assert collect(host, 1) == ["real"]


def test_a_queue_survives_a_kill(host: Host) -> None:
    leave_session(host)
    sent = [str(number) for number in range(2000)]
    publish_all(host, sent)
    # Before 2.1 the store is written once a second at most.
    host.run("sleep 2")
    kill(host)
    assert collect(host, len(sent)) == sent


def test_a_queue_survives_a_restart(host: Host) -> None:
    leave_session(host)
    assert publish(host, DEVICE, "sensors/s1/d1/telemetry", "before").rc == 0
    host.check_output("systemctl restart mosquitto")
    assert collect(host, 1) == ["before"]


def test_no_warning_is_logged(host: Host) -> None:
    log = host.check_output("journalctl --unit=mosquitto --output=cat --no-pager")
    assert "arning" not in log
    assert "deprecated" not in log


def test_passwords_are_hashed_and_private(host: Host) -> None:
    file = host.file("/etc/mosquitto/passwords")
    assert (file.user, file.mode) == ("mosquitto", 0o600)
    assert "test-only" not in host.check_output(
        "cat /etc/mosquitto/health/* /etc/mosquitto/passwords"
    )


def test_the_unit_is_confined(host: Host) -> None:
    assert exposure(host, "mosquitto") <= 2.0
