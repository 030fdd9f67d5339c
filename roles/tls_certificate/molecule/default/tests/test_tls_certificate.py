"""What a service finds, and what later runs make of it."""

import json
import os
import re
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from testinfra.host import Host

HOME = "/etc/edge-telemetry/tls/probe"
SCENARIO = Path(__file__).resolve().parent.parent
ROOT = SCENARIO.parents[3]
RELOADS = "/run/probe-reloads"
METRICS = "/var/lib/prometheus/node-exporter/edge_certificate_probe.prom"


def certificate(host: Host) -> x509.Certificate:
    return x509.load_pem_x509_certificate(host.file(f"{HOME}/certificate.pem").content)


def key(host: Host) -> str:
    return str(host.file(f"{HOME}/key.pem").content_string)


def reloads(host: Host) -> int:
    return len(host.run(f"cat {RELOADS}").stdout.splitlines())


def authorities(host: Host) -> list[str]:
    bundle = x509.load_pem_x509_certificates(host.file(f"{HOME}/ca.pem").content)
    return [common_name(found.subject) for found in bundle]


def common_name(name: x509.Name) -> str:
    return str(name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


class Play:
    """Runs the scenario's play against this one host, with authorities of this test alone."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.output = ""
        self.folder = folder
        self._host = host
        reached = {
            "ansible_host": host.check_output("hostname -I").split()[0],
            "ansible_user": "root",
            "ansible_ssh_private_key_file": "/run/edge-telemetry/key",
            "ansible_ssh_common_args": (
                "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
            ),
        }
        name = host.check_output("hostname")
        inventory = {"all": {"hosts": {name: reached}}}
        (folder / "hosts.yml").write_text(json.dumps(inventory), encoding="utf-8")

    def __call__(self, *options: str, **variables: Any) -> bool:
        """Returns whether it succeeded; what it printed stays in `output`."""
        extra = {"probe_authorities": str(self.folder / "ca"), **variables}
        done = subprocess.run(
            [
                *("ansible-playbook", "-i", str(self.folder / "hosts.yml"), *options),
                *("-e", json.dumps(extra), str(SCENARIO / "converge.yml")),
            ],
            cwd=ROOT,
            env={k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")},
            capture_output=True,
            text=True,
            check=False,
        )
        self.output = done.stdout + done.stderr
        return done.returncode == 0

    def forget(self) -> None:
        """As on a new host."""
        self._host.check_output(f"rm -rf {HOME} {RELOADS}")


@pytest.fixture
def first_play(host: Host, tmp_path: Path) -> Play:
    """The play on a host without certificates."""
    play = Play(host, tmp_path)
    play.forget()
    return play


@pytest.fixture
def play(host: Host, first_play: Play) -> Play:
    """The same where later runs are tried; most of what they do is the controller's."""
    if host.system_info.codename != "trixie" and "EDGE_LONG" not in os.environ:
        pytest.skip("tried on trixie alone: `make test-full` sets EDGE_LONG and tries both")
    return first_play


def verifies(host: Host, *purposes: str) -> bool:
    return all(
        host.run(
            f"openssl verify -x509_strict -purpose {purpose} -CAfile {HOME}/ca.pem "
            f"{HOME}/certificate.pem"
        ).succeeded
        for purpose in purposes
    )


def test_the_chain_holds_for_servers_and_clients_and_for_each_name(
    host: Host, first_play: Play
) -> None:
    assert first_play(), first_play.output
    assert verifies(host, "sslserver", "sslclient")
    address = host.check_output("hostname -I").split()[0]
    names = [("host", host.check_output("hostname")), ("host", "localhost")]
    for kind, name in [*names, ("ip", address), ("ip", "127.0.0.1")]:
        check = f"openssl x509 -in {HOME}/certificate.pem -noout -check{kind} {name}"
        assert "does match" in host.check_output(check)
    lasts = certificate(host).not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=89) < lasts <= timedelta(days=90)


def test_a_server_and_a_client_shake_hands_with_it(host: Host, play: Play) -> None:
    assert play(), play.output
    files = f"-cert {HOME}/certificate.pem -key {HOME}/key.pem -CAfile {HOME}/ca.pem"
    host.check_output(
        f"systemd-run --unit=shake --collect openssl s_server {files} -accept 8443 -Verify 1 "
        "-verify_return_error -www"
    )
    try:
        client = f"openssl s_client -connect 127.0.0.1:8443 -verify_return_error -brief {files}"
        shaken = host.run(f"sleep 1; echo Q | {client} -verify_ip 127.0.0.1 2>&1")
        assert "Verification: OK" in shaken.stdout, shaken.stdout
        refused = host.run(f"echo Q | {client} -verify_ip 192.0.2.1 2>&1")
        assert refused.rc != 0
    finally:
        host.check_output("systemctl stop shake")


def test_only_root_and_the_group_read_the_key(host: Host, first_play: Play) -> None:
    assert first_play(), first_play.output
    for name in ("key.pem", "keystore.pem"):
        file = host.file(f"{HOME}/{name}")
        assert (file.user, file.group, file.mode) == ("root", "probe", 0o640)
    assert host.run(f"runuser -u nobody -- cat {HOME}/key.pem").rc != 0
    assert host.run(f"runuser -u nobody -- cat {HOME}/ca.pem").rc == 0
    for path in (first_play.folder / "ca").glob("*.key"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_no_key_is_printed(host: Host, play: Play) -> None:
    assert play("-vvv", "--diff"), play.output
    assert "BEGIN CERTIFICATE" in play.output
    authority = (play.folder / "ca" / "ca1.key").read_text(encoding="utf-8")
    for secret in (key(host), authority):
        body = re.sub(r"-----.*?-----|\s", "", secret)
        # Of the 138 bytes these are the secret number; what follows is the public key.
        assert body[48:88] not in re.sub(r"\\n|\s", "", play.output)
    assert "PRIVATE KEY" not in play.output


def test_a_second_run_changes_nothing_and_reloads_nothing(host: Host, play: Play) -> None:
    assert play(), play.output
    before = (certificate(host).serial_number, reloads(host))
    assert before[1] == 1
    assert play(), play.output
    assert "changed=0" in play.output
    assert play("--check"), play.output
    assert "changed=0" in play.output
    assert (certificate(host).serial_number, reloads(host)) == before


def test_it_is_renewed_inside_the_window_with_the_same_key(host: Host, play: Play) -> None:
    assert play(tls_certificate_days=40), play.output
    serial, secret = certificate(host).serial_number, key(host)
    assert play(tls_certificate_days=90, tls_certificate_renew_days=39), play.output
    assert certificate(host).serial_number == serial
    assert play("--check", tls_certificate_days=90, tls_certificate_renew_days=41), play.output
    assert "changed=0" not in play.output
    assert certificate(host).serial_number == serial
    assert play(tls_certificate_days=90, tls_certificate_renew_days=41), play.output
    assert certificate(host).serial_number != serial
    assert key(host) == secret
    assert reloads(host) == 2
    assert certificate(host).not_valid_after_utc > datetime.now(UTC) + timedelta(days=80)


def test_a_new_name_and_a_new_key_get_a_new_certificate(host: Host, play: Play) -> None:
    assert play(), play.output
    secret = key(host)
    assert play(tls_certificate_names=["broker.example", "2001:db8::1"]), play.output
    names = certificate(host).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.example"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["2001:db8::1"]
    assert key(host) == secret
    assert play(tls_certificate_new_key=True), play.output
    assert key(host) != secret
    assert (
        certificate(host).public_key()
        == serialization.load_pem_private_key(key(host).encode(), None).public_key()
    )
    assert verifies(host, "sslserver")


def test_an_authority_changes_without_a_gap(host: Host, play: Play) -> None:
    assert play(), play.output
    old = host.file(f"{HOME}/certificate.pem").content_string
    host.check_output(f"cp {HOME}/certificate.pem /tmp/old.pem; cp {HOME}/ca.pem /tmp/old-ca.pem")
    # What others would refuse is not done.
    assert not play(tls_certificate_authorities=["ca2", "ca1"])
    assert "does not hold it" in play.output
    assert host.file(f"{HOME}/certificate.pem").content_string == old

    assert play(tls_certificate_authorities=["ca1", "ca2"]), play.output
    assert authorities(host) == ["edge-telemetry ca1", "edge-telemetry ca2"]
    assert host.file(f"{HOME}/certificate.pem").content_string == old

    assert play(tls_certificate_authorities=["ca2", "ca1"]), play.output
    assert common_name(certificate(host).issuer) == "edge-telemetry ca2"
    # A peer that has not had this step yet is trusted, and trusts.
    assert host.run(f"openssl verify -CAfile {HOME}/ca.pem /tmp/old.pem").rc == 0
    assert verifies(host, "sslserver")
    assert host.run(f"openssl verify -CAfile /tmp/old-ca.pem {HOME}/certificate.pem").rc != 0

    assert play(tls_certificate_authorities=["ca2"]), play.output
    assert authorities(host) == ["edge-telemetry ca2"]
    assert verifies(host, "sslserver")
    assert host.run(f"openssl verify -CAfile {HOME}/ca.pem /tmp/old.pem").rc != 0
    assert reloads(host) == 4


def test_the_end_is_told_to_node_exporter(host: Host, play: Play) -> None:
    assert play(), play.output
    told = dict(re.findall(r'(?m)path="(.*)"} (\d+)$', host.file(METRICS).content_string))
    ends = certificate(host).not_valid_after_utc.timestamp()
    assert int(told[f"{HOME}/certificate.pem"]) == ends
    authority = x509.load_pem_x509_certificate(host.file(f"{HOME}/ca.pem").content)
    assert int(told[f"{HOME}/ca.pem"]) == authority.not_valid_after_utc.timestamp()
    form = shlex.quote(
        'edge_certificate_expiry_timestamp_seconds{host="'
        + host.check_output("hostname")
        + '",service="probe",path="'
    )
    assert host.run(f"grep -qF {form} {METRICS}").rc == 0


def make(folder: Path, days: int) -> dict[str, str]:
    """A certificate of someone else's, its own authority."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "brought.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(secret, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    folder.mkdir(exist_ok=True)
    for file in ("certificate", "authorities"):
        (folder / file).write_bytes(pem)
    (folder / "key").write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return {file: str(folder / file) for file in ("certificate", "authorities", "key")}


def test_a_brought_certificate_is_used(host: Host, play: Play) -> None:
    brought = make(play.folder / "brought", days=60)
    assert play("-vvv", "--diff", tls_certificate_brought=brought), play.output
    assert "PRIVATE KEY" not in play.output
    for file, name in (("certificate", "certificate"), ("key", "key"), ("authorities", "ca")):
        on_controller = Path(brought[file]).read_text(encoding="utf-8").strip()
        assert host.file(f"{HOME}/{name}.pem").content_string.strip() == on_controller
    assert host.file(f"{HOME}/key.pem").mode == 0o640
    assert reloads(host) == 1
    assert play(tls_certificate_brought=brought), play.output
    assert "changed=0" in play.output
    assert "bring a new one" not in play.output
    assert play(tls_certificate_brought=make(play.folder / "brought", days=10)), play.output
    assert "bring a new one" in play.output
    assert reloads(host) == 2


@pytest.mark.parametrize("wrong", ["ended", "another key"])
def test_a_brought_certificate_that_cannot_serve_is_refused(
    host: Host, play: Play, wrong: str
) -> None:
    brought = make(play.folder / "brought", days=-1 if wrong == "ended" else 60)
    if wrong == "another key":
        brought["key"] = make(play.folder / "other", days=60)["key"]
    assert not play(tls_certificate_brought=brought)
    assert "must not have ended" in play.output
    assert not host.file(f"{HOME}/key.pem").exists
