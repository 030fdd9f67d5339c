"""The service as systemd runs it."""

from testinfra.host import Host

from tools.exposure import exposure


def test_service_serves_its_credential(host: Host) -> None:
    answer = host.check_output("curl -sf --retry 5 --retry-connrefused http://127.0.0.1:8099/token")
    assert answer == "not-a-secret"


def test_credential_on_disk_is_for_root_alone(host: Host) -> None:
    file = host.file("/etc/probe/credentials/token")
    assert (file.user, file.mode) == ("root", 0o600)


def test_runs_as_its_own_user(host: Host) -> None:
    pid = host.check_output("systemctl show --property=MainPID --value probe")
    assert host.check_output(f"stat -c %U /proc/{pid}") == "probe"


def test_comes_back_after_a_kill(host: Host) -> None:
    before = host.check_output("systemctl show --property=MainPID --value probe")
    host.check_output("systemctl kill --signal=KILL probe")
    host.check_output("curl -sf --retry 10 --retry-connrefused http://127.0.0.1:8099/token")
    assert host.check_output("systemctl show --property=MainPID --value probe") != before


def test_the_unit_is_confined(host: Host) -> None:
    assert exposure(host, "probe") <= 2.0
