"""The environment as an application would use it."""

from testinfra.host import Host

PYTHON = "/opt/probe/current/bin/python"


def test_dependencies_and_project_are_importable(host: Host) -> None:
    host.check_output(f"{PYTHON} -c 'import confluent_kafka, paho.mqtt.client, bridge, telemetry'")


def test_installed_packages_fit_each_other(host: Host) -> None:
    host.check_output(f"{PYTHON} -m pip check")


def test_releases_stand_side_by_side(host: Host) -> None:
    target = host.check_output("readlink -f /opt/probe/current")
    assert host.file(f"{target}/.installed").exists
