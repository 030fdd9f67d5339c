"""What a gateway does about a channel."""

import json
import shutil
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull.channel import Channel, ChannelError, File, Known, decide, digest, key, place, reasons
from pull.signature import sign, verified

FILES = {
    "project.tar": File("aa", 1),
    "artifacts/edge_telemetry-1+f-any.tar": File("bb", 2),
    "artifacts/bridge-1-py3.13-arm64.tar": File("cc", 3),
    "artifacts/bridge-1-py3.14-arm64.tar": File("dd", 4),
    "artifacts/bridge-1-py3.13-amd64.tar": File("ee", 5),
    "hosts/gw1.yml": File("ff", 6),
    "hosts/gw2.yml": File("00", 7),
}
CHANNEL = Channel(100, "v1", 100.0, 0, FILES)


def test_a_channel_is_read_as_it_was_written() -> None:
    assert Channel.parse(CHANNEL.text()) == CHANNEL


def test_what_a_later_publisher_adds_is_passed_over() -> None:
    said = json.loads(CHANNEL.text()) | {"colour": "blue"}
    said["files"]["project.tar"]["mode"] = 7
    assert Channel.parse(json.dumps(said).encode()) == CHANNEL
    assert Known.parse({"sequence": 3, "colour": "blue"}) == Known(sequence=3)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"files": {"a": 1}}', b'{"files": {}}'])
def test_what_is_no_channel_is_refused(text: bytes) -> None:
    with pytest.raises(ChannelError, match="publish it anew"):
        Channel.parse(text)


def test_a_gateway_gets_its_own_files_alone() -> None:
    assert [*CHANNEL.of("gw1", "arm64", "3.13")] == [
        "project.tar",
        "artifacts/edge_telemetry-1+f-any.tar",
        "artifacts/bridge-1-py3.13-arm64.tar",
        "hosts/gw1.yml",
    ]
    # Where that gateway's user alone may read.
    assert key("hosts/gw1.yml", FILES["hosts/gw1.yml"]) == "hosts/gw1/ff"
    assert key("project.tar", FILES["project.tar"]) == "files/aa"


@pytest.mark.parametrize(
    ("who", "why"),
    [(("gw3", "arm64", "3.13"), "does not know gw3"), (("gw1", "arm64", "3.15"), "Python 3.15")],
)
def test_a_release_that_has_nothing_for_it_is_refused(who: tuple[str, str, str], why: str) -> None:
    with pytest.raises(ChannelError, match=why):
        CHANNEL.of(*who)


def test_sequences_do_not_go_back() -> None:
    known = Known()
    known.follow(CHANNEL, b"one")
    known.follow(CHANNEL, b"one")
    with pytest.raises(ChannelError, match="two channels have sequence 100"):
        known.follow(CHANNEL, b"other")
    known.follow(replace(CHANNEL, sequence=101), b"two")
    with pytest.raises(ChannelError, match="sequence 100 and 101 was seen before"):
        known.follow(CHANNEL, b"one")
    assert Known.parse(json.loads(json.dumps(asdict(known)))) == known


def test_what_is_here_or_failed_here_is_left_alone() -> None:
    def state(channel: Channel, known: Known) -> str:
        return decide(channel, known, "gw1", "r")[0]

    assert state(CHANNEL, Known()) == "take"
    assert state(CHANNEL, Known(release="r")) == "current"
    failed = Known(failed={"r": 100})
    assert state(CHANNEL, failed) == "failed"
    assert state(replace(CHANNEL, sequence=101), failed) == "failed"
    again = replace(CHANNEL, sequence=101, retry=101)
    assert state(again, failed) == "take"
    assert state(again, Known(failed={"r": 101})) == "failed"
    assert decide(replace(CHANNEL, percent=0), Known(), "gw1", "r") == (
        "waiting",
        f"its place is {place('gw1', 'v1'):.2f}, and 0 percent are asked now",
    )


@given(st.text(), st.text())
def test_all_are_asked_by_a_hundred_percent_and_nobody_by_none(gateway: str, seed: str) -> None:
    assert 0 <= place(gateway, seed) < 100


def test_a_part_is_about_that_part_and_another_one_for_another_release() -> None:
    names = [f"gw{number}" for number in range(1000)]
    first = {name for name in names if place(name, "v1") < 10}
    assert 60 < len(first) < 140
    # Who came first comes first when more are asked.
    assert first <= {name for name in names if place(name, "v1") < 20}
    assert len(first & {name for name in names if place(name, "v2") < 10}) < 40


def test_the_same_files_have_the_same_name_in_any_order() -> None:
    assert digest(FILES) == digest(dict(reversed(FILES.items())))
    assert digest(FILES) != digest({**FILES, "project.tar": File("ab", 1)})


def test_reasons_come_from_the_book() -> None:
    gate = {"gate": "probes", "text": "3 of 20 probes did not arrive"}
    book = {"gateways": {"gw1": {"why": "", "failing": [gate]}, "gw2": {"why": "dark"}}}
    assert [*reasons(book, "gw1")] == ["gate probes: 3 of 20 probes did not arrive"]
    assert [*reasons(book, "gw2")] == ["dark"]
    assert [*reasons({}, "gw1")] == []


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs OpenSSH")
def test_only_what_a_signer_signed_is_read(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(make, check=True)
    signers = tmp_path / "signers"
    signers.write_text(f"edge-telemetry {(tmp_path / 'ours.pub').read_text()}")
    text = CHANNEL.text()
    signed = sign(text, tmp_path / "ours")
    assert verified(signed, signers) == text
    other = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-q", "-f", str(tmp_path / "ours"), "-n", "other"],
        input=text,
        check=True,
        capture_output=True,
    ).stdout
    for wrong in (
        sign(text, tmp_path / "theirs"),
        signed.replace(b"v1", b"v2"),
        text,
        b"",
        # Of ours, for another purpose.
        text + other,
    ):
        with pytest.raises(ChannelError, match="signed the channel"):
            verified(wrong, signers)
