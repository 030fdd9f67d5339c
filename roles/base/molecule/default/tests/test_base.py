"""What every host has."""

from testinfra.host import Host


def test_clock_is_watched(host: Host) -> None:
    assert "Leap status" in host.check_output("chronyc -n tracking")


def test_local_time_is_utc(host: Host) -> None:
    assert host.check_output("date +%Z") == "UTC"


def test_no_unit_failed(host: Host) -> None:
    assert host.check_output("systemctl list-units --failed --no-legend --plain") == ""


def test_journal_is_bounded(host: Host) -> None:
    assert "SystemMaxUse=200M" in host.check_output(
        "systemd-analyze cat-config systemd/journald.conf"
    )
