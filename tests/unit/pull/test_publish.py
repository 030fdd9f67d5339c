"""What is published: sealed settings, certificates signed anew, and no more of what failed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pull.arrivals import confined
from pull.channel import Channel
from tools.identity import issue
from tools.publish import PublishError, refuse_more, renewed, sealed, whole

SETTINGS = {"mosquitto_users": [{"name": "bridge", "password": "sésame"}]}
CHANNEL = Channel(2, "v1", 100, 0, {})


def test_settings_open_by_their_password_alone() -> None:
    text = sealed(SETTINGS, "one")
    opened = VaultLib([("default", VaultSecret(b"one"))]).decrypt(text)
    assert yaml.safe_load(opened) == SETTINGS
    assert "sésame".encode() not in text
    with pytest.raises(Exception, match="Decryption failed"):
        VaultLib([("default", VaultSecret(b"other"))]).decrypt(text)


def test_the_same_settings_are_the_same_release_and_no_others() -> None:
    assert sealed(SETTINGS, "one") == sealed(SETTINGS, "one")
    # Nor may two texts share a key stream: then one would tell of the other.
    texts = {sealed({"a": n}, password).splitlines()[1] for n in range(3) for password in "xy"}
    assert len(texts) == 6


def test_files_that_settings_name_go_with_them(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("authority")
    listeners = [
        {"port": 8885, "tls": True, "clients": str(tmp_path / "ca.crt")},
        {"port": 8884, "enabled": False, "clients": str(tmp_path / "none")},
        {"port": 1884},
    ]
    made = whole({"mosquitto_listeners": listeners})
    assert made["pulled_files"] == {"8885.clients": "authority"}
    assert made["mosquitto_listeners"][0]["clients"] == "/var/lib/edge-pull/clients/8885.clients"
    assert made["mosquitto_listeners"][2] == {"port": 1884}
    with pytest.raises(PublishError, match=r"none of mosquitto_listeners is missing"):
        whole({"mosquitto_listeners": [{"port": 8885, "revoked": str(tmp_path / "none")}]})


def authority(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ours")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now + timedelta(days=999))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "ca.key").write_bytes(private)
    (folder / "ca.crt").write_bytes(made.public_bytes(Encoding.PEM))
    return folder / "ca"


def test_a_certificate_is_signed_anew_for_the_same_key_and_only_in_time(tmp_path: Path) -> None:
    path = tmp_path / "gw1.mosquitto.crt"
    path.write_text(issue(authority(tmp_path), "gw1", days=90)[0])
    old = x509.load_pem_x509_certificate(path.read_bytes())
    now = datetime.now(UTC)
    assert renewed(path, tmp_path / "ca", now) == path.read_text()
    assert x509.load_pem_x509_certificate(path.read_bytes()) == old
    renewed(path, tmp_path / "ca", now + timedelta(days=60))
    new = x509.load_pem_x509_certificate(path.read_bytes())
    assert (new.subject, new.public_key()) == (old.subject, old.public_key())
    assert [e.value for e in new.extensions] == [e.value for e in old.extensions]
    assert new.not_valid_after_utc > now + timedelta(days=140)
    new.verify_directly_issued_by(
        x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes())
    )


def test_no_more_gateways_get_what_failed() -> None:
    few = Channel(1, "v1", 10, 0, {})
    told = {"gw1": {"state": "back", "why": "gate probes", "wanted": "v1"}}
    with pytest.raises(PublishError, match=r"failed on 1 gateways(?s:.*)gw1: back .gate probes"):
        refuse_more(CHANNEL, few, told)
    refuse_more(CHANNEL, None, told)
    refuse_more(CHANNEL, few, {"gw1": {"state": "passed", "why": "", "wanted": "v1"}})
    # It was another release, or no further gateway gets it.
    refuse_more(CHANNEL, few, {"gw1": {"state": "back", "why": "", "wanted": "v0"}})
    refuse_more(CHANNEL, CHANNEL, told)


def test_a_gateway_asks_for_itself_alone() -> None:
    asked = {
        "gateway": "gw2",
        "device": "boiler",
        "run": 17,
        "sent": 20,
        "since": "2026-11-27T12:00:00+00:00",
    }
    (mine,) = confined([asked], "gw1")
    assert (mine["gateway"], mine["device"], mine["run"]) == ("gw1", "probe-gw1", 17.0)
    assert confined([], "gw1") == []
    for wrong in ("gw1", [{}], [asked] * 5, [asked | {"since": "now"}], [asked | {"sent": "x"}]):
        with pytest.raises((ValueError, KeyError, TypeError)):
            confined(wrong, "gw1")
