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


def test_the_kernel_keeps_the_confined_process_to_what_it_has(host: Host) -> None:
    """By what the kernel says of the process: its root is read-only, and it gains no rights."""
    pid = host.check_output("systemctl show --property=MainPID --value probe")
    assert "NoNewPrivs:\t1" in host.file(f"/proc/{pid}/status").content_string
    mounts = host.file(f"/proc/{pid}/mountinfo").content_string.splitlines()
    (root,) = [fields for line in mounts if (fields := line.split())[4] == "/"][-1:]
    assert "ro" in root[5].split(",")
