"""Labels from the inventory to the printed page, whose codes are read as a telephone reads them."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
import zxingcpp
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tools.browser import opened, picture
from tools.labels import Account, LabelError, accounts, code, page, write

ROOT = Path(__file__).resolve().parents[3]
needs_browser = pytest.mark.skipif(
    not shutil.which("chromium-headless-shell"),
    reason="chromium-headless-shell is not installed; `make bootstrap-tests` installs it",
)
WICKED = "</h2><script>document.title='taken'</script><img src=x onerror=alert(1)>&amp;\"'"
# Somebody may write a password's file by hand; the others are made of letters and digits.
PASSWORDS = {
    "formula": "=cmd|' /C calc'!A0",
    "plus": "+1+1+cmd",
    "minus": "-1-1-cmd",
    "at": "@SUM(1,2)",
    "wide": "\uff1d1+1+cmd",
    "quoted": "'=1+1+cmd",
    "comma": 'a,"b";c',
    "url": "p@ss:w/o?r#d%41 [é]",
    "html": WICKED,
}


def run_credentials(
    folder: Path, devices: list[dict[str, Any]]
) -> subprocess.CompletedProcess[str]:
    """What playbooks/devices.yml does on the controller, for the gateway gw1."""
    for name in ("tasks", "templates", "vars"):
        (folder / name).symlink_to(ROOT / "playbooks" / name)
    said = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "edge_address": "10.0.0.1",
        "edge_devices": devices,
        "vault_mqtt_bridge_password": "unused",
    }
    inventory = {"all": {"children": {"gateway": {"hosts": {"gw1": said}}}}}
    play = {
        "hosts": "gateway",
        "gather_facts": False,
        "vars_files": ["vars/wiring.yml"],
        "tasks": [{"include_tasks": "tasks/device_credentials.yml"}],
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    command = ["ansible-playbook", "-i", f"{folder}/hosts.yml", f"{folder}/play.yml"]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


def labels(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.labels", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of accounts, with the page; nothing that was printed names a password."""
    folder = tmp_path_factory.mktemp("inventory")
    home = folder / ".secrets" / "devices"
    (home / "gw1").mkdir(parents=True)
    for name, password in PASSWORDS.items():
        (home / "gw1" / f"{name}.password").write_text(password + "\n", encoding="utf-8")
    names = [*PASSWORDS, "usual", "roof-1"]
    devices = [{"name": name, "site": "lab"} for name in names]
    devices[-1]["certificate"] = True  # type: ignore[assignment]
    prepared = run_credentials(folder, devices)
    assert prepared.returncode == 0, prepared.stdout + prepared.stderr
    # What is there already, and is too open, is no reason to leave it so.
    (home / "gw1.html").touch(mode=0o644)
    done = labels("--inventory", str(folder))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"gw1.html: {len(names)} labels\n")
    said = prepared.stdout + prepared.stderr + done.stdout + done.stderr
    for account in accounts(home / "gw1.csv"):
        assert not account.password or account.password not in said
    return home


def test_only_the_owner_reads_what_is_written(made: Path) -> None:
    for name in ("gw1.csv", "gw1.html"):
        assert (made / name).stat().st_mode & 0o777 == 0o600
    assert {path.name for path in made.iterdir()} == {"gw1", "gw1.csv", "gw1.html"}


def test_the_list_holds_no_formula_and_says_what_is(made: Path) -> None:
    with (made / "gw1.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r\n\uff1d"))]
    found = {account.device: account for account in accounts(made / "gw1.csv")}
    assert {name: found[name].password for name in PASSWORDS} == PASSWORDS
    usual = found["usual"]
    assert (usual.host, usual.port, usual.username) == ("10.0.0.1", 8883, "usual")
    assert (usual.topic, len(usual.password)) == ("sensors/lab/usual/telemetry", 32)


def test_a_certificate_is_named_by_its_fingerprint(made: Path) -> None:
    (roof,) = [account for account in accounts(made / "gw1.csv") if account.device == "roof-1"]
    file = made.parent / "clients" / "devices-gw1" / "roof-1.crt"
    digest = x509.load_pem_x509_certificate(file.read_bytes()).fingerprint(SHA256())
    assert (roof.port, roof.password, roof.fingerprint) == (8884, "", digest.hex(":"))
    assert roof.uri == "mqtts://roof-1@10.0.0.1:8884/sensors/lab/roof-1/telemetry"
    assert digest.hex(":") in (made / "gw1.html").read_text(encoding="utf-8")


@needs_browser
def test_the_codes_of_the_printed_page_are_read(made: Path, tmp_path: Path) -> None:
    picture(made / "gw1.html", tmp_path / "page.png", (800, 1400))
    read = zxingcpp.read_barcodes(Image.open(tmp_path / "page.png"))
    wanted = accounts(made / "gw1.csv")
    assert {result.text for result in read} == {account.uri for account in wanted}
    assert len(read) == len(wanted)
    for account in wanted:
        parts = urlsplit(account.uri)
        shown = (unquote(parts.username or ""), unquote(parts.password or ""), parts.port)
        assert shown == (account.username, account.password, account.port)
        assert parts.path == "/" + account.topic


@needs_browser
def test_a_wicked_name_is_text(tmp_path: Path) -> None:
    account = Account(WICKED, WICKED, WICKED, WICKED, 1, WICKED, "", WICKED)
    write(tmp_path / "page.html", page(WICKED, [account]))
    html, complaints = opened(tmp_path / "page.html")
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("&lt;script&gt;document.title") == 8
    assert complaints == []


@given(*[st.text(st.characters(codec="utf-8"), min_size=1)] * 3)
def test_whatever_an_account_is_its_uri_says_it(name: str, password: str, topic: str) -> None:
    uri = Account(name, "", topic, "fd00::1", 8883, name, password, "").uri
    assert uri.isascii()
    parts = urlsplit(uri)
    assert (parts.hostname, parts.port) == ("fd00::1", 8883)
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == (name, password)
    assert unquote(parts.path) == "/" + topic
    assert not parts.query + parts.fragment


@pytest.mark.parametrize(
    "names", [["../../outside"], ["=cmd|calc", "a,b", "<b>", "bridge-gw1", "-x"]], ids=["a", "b"]
)
def test_names_that_may_not_be_are_refused_before_anything_is_written(
    names: list[str], tmp_path: Path
) -> None:
    done = run_credentials(tmp_path, [{"name": name, "site": "lab"} for name in names])
    assert done.returncode != 0
    assert "Preflight | Names of" in done.stdout
    (complaint,) = re.findall(r'"msg": "(.*?)"', done.stdout)
    assert all(name in complaint for name in names)
    assert not list(tmp_path.rglob("*.password"))
    assert not (tmp_path / ".secrets").exists()


HEAD = "device,site,topic,host,port,username,password,fingerprint\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "gw1.csv has no column device, site,"),
        (b"device,site,topic,host,port,username,password\n", "gw1.csv has no column fingerprint"),
        (f"{HEAD}a,lab,t,h,8883,a,secret\n".encode(), "device 1 has 7 cells and not 8"),
        (f"{HEAD}a,lab,t,h,8883,a,p,\n,lab,t,,1,b,p,\n".encode(), "device 2 has no device, host"),
        (f"{HEAD}a,lab,t,h,8883,a,,\n".encode(), "device 1 has no password or fingerprint"),
        (f"{HEAD}a,lab,t,h,65536,a,secret,\n".encode(), "device 1 has the port '65536'"),
        (f"{HEAD}a,lab,t,h,²,a,secret,\n".encode(), "device 1 has the port '²'"),
        (b"\xff", "gw1.csv cannot be read ('utf-8' codec"),
        (b'"device', "gw1.csv cannot be read (unexpected end of data)"),
    ],
)
def test_a_list_that_is_none(text: bytes, complaint: str, tmp_path: Path) -> None:
    home = tmp_path / ".secrets" / "devices"
    home.mkdir(parents=True)
    (home / "gw1.csv").write_bytes(text)
    done = labels("--inventory", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("labels: ")
    assert complaint in done.stderr
    assert "run playbooks/devices.yml" in done.stderr
    assert "secret" not in done.stderr.replace(".secrets", "")


def test_a_gateway_without_a_list(tmp_path: Path) -> None:
    done = labels("--inventory", str(tmp_path))
    assert done.returncode == 1
    assert f"{tmp_path}/.secrets/devices has no list of accounts: run `ansible-" in done.stderr
    (tmp_path / ".secrets" / "devices").mkdir(parents=True)
    (tmp_path / ".secrets" / "devices" / "gw1.csv").write_text(HEAD)
    done = labels("--inventory", str(tmp_path / "hosts.yml"), "../gw9")
    assert done.returncode == 1
    assert "has no list of ../gw9, only of gw1: name one of these" in done.stderr


def test_more_than_a_code_holds() -> None:
    account = Account("long", "lab", "t", "h", 8883, "long", "p" * 2400, "")
    with pytest.raises(LabelError, match=r"device 'long'.*more than a QR code holds: shorten"):
        code(account)
