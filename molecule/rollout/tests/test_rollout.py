"""Rollouts to six gateways while their sensors send: nothing is lost, whatever the release does."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet import GATEWAYS, Fleet, Sensors
from releases import make
from testinfra.host import Host

from tools.pipeline import eventually

CANARY, LAST = GATEWAYS[0], GATEWAYS[-1]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Books, logs and releases; where it is to stay, EDGE_ROLLOUT_FOLDER names it."""
    kept = os.environ.get("EDGE_ROLLOUT_FOLDER")
    return Path(kept) if kept else tmp_path_factory.mktemp("rollout")


@pytest.fixture(scope="session")
def fleet(hosts: dict[str, Host], folder: Path) -> Fleet:
    return Fleet(hosts, folder)


@pytest.fixture
def sensors(fleet: Fleet, tmp_path: Path) -> Iterator[Sensors]:
    """Sensors that send during a test; afterwards each reading is in the database, once."""
    made = Sensors({name: fleet.address(name) for name in GATEWAYS}, tmp_path)
    made.start()
    yield made
    sent = made.stop()
    assert sent > 0
    fleet.all_arrive(made.site, sent)


def states(book: dict[str, Any]) -> dict[str, str]:
    return {name: gateway["state"] for name, gateway in book["gateways"].items()}


def test_the_plan_is_shown_and_nothing_changes(fleet: Fleet, folder: Path) -> None:
    before = fleet.releases()
    status, output = fleet.play(make(folder, "good"), "gateways", "--check", "--diff")
    assert status == 0, output[-4000:]
    for number, names in ((1, GATEWAYS[:1]), (2, GATEWAYS[1:2]), (3, GATEWAYS[2:])):
        assert f"wave {number}: {', '.join(names)}" in output
    # The link, with its old and its new end.
    assert f"{before[CANARY]}" in output
    assert fleet.releases() == before
    assert list(folder.glob("*.json")) == []


@pytest.mark.parametrize(
    ("release", "gates"),
    [
        ("drops", {"probes", "missing"}),
        ("crashes", {"restarts"}),
        ("slow", {"latency"}),
        ("misconfigured", {"tasks"}),
    ],
)
@pytest.mark.usefixtures("sensors")
def test_a_poisoned_release_stops_at_the_canary(
    fleet: Fleet, folder: Path, release: str, gates: set[str]
) -> None:
    before = fleet.releases()
    files = "sha256sum /etc/mosquitto/* /etc/systemd/system/mqtt-bridge.service 2>/dev/null"
    files_before = fleet.hosts[CANARY].run(files).stdout
    status, output = fleet.play(make(folder, release), "gateways")
    assert status != 0
    assert "STOPPED: 1 of 1 gateways of the wave failed" in output, output[-4000:]
    book = fleet.book(output)
    waiting = dict.fromkeys(GATEWAYS[1:], "waiting")
    assert states(book) == {CANARY: "back", **waiting}
    failing = {gate["gate"] for gate in book["gateways"][CANARY]["failing"]}
    assert failing & gates, failing
    assert fleet.releases() == before
    assert fleet.hosts[CANARY].run(files).stdout == files_before
    assert book["gateways"][CANARY]["again"]["whole"]


@pytest.mark.usefixtures("sensors")
def test_it_goes_on_after_it_was_cut_off_and_a_dark_gateway_comes_later(
    fleet: Fleet, folder: Path
) -> None:
    before = fleet.releases()
    tree = make(folder, "good")
    with fleet.dark(LAST):
        cut_off(fleet, tree, GATEWAYS[1])
        status, output = fleet.play(tree, "gateways")
    assert status == 0, output[-4000:]
    book = fleet.book(output)
    assert states(book) == {**dict.fromkeys(GATEWAYS[:-1], "passed"), LAST: "dark"}
    # The canary does not come again; the wave that was cut off does.
    waves = [GATEWAYS[:1], GATEWAYS[1:2], GATEWAYS[1:2], GATEWAYS[2:-1]]
    assert [wave["gateways"] for wave in book["waves"]] == waves
    releases = fleet.releases()
    assert releases[LAST] == before[LAST]
    assert {releases[name] for name in GATEWAYS[:-1]} & set(before.values()) == set()

    status, output = fleet.play(tree, "gateways")
    assert status == 0, output[-4000:]
    book = fleet.book(output)
    assert states(book) == dict.fromkeys(GATEWAYS, "passed")
    assert book["waves"][-1]["gateways"] == [LAST]


def cut_off(fleet: Fleet, tree: Path, gateway: str) -> None:
    """Kills a rollout while a release is on trial on a gateway."""
    process = fleet.start(tree, "gateways")

    def on_trial() -> bool:
        steps = [
            json.loads(book.read_text(encoding="utf-8"))["gateways"][gateway]["steps"]
            for book in fleet.folder.glob("rollout-*.json")
        ]
        return any(step == "soak" for told in steps for _, step in told)

    try:
        eventually("the trial", on_trial, bool, 1200)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.usefixtures("sensors")
def test_gateways_go_back_by_hand_and_come_again(fleet: Fleet, folder: Path) -> None:
    before = fleet.releases()
    back = GATEWAYS[1:3]
    tree = folder / "good"
    status, output = fleet.play(tree, "rollback", f"--limit={','.join(back)}")
    assert status == 0, output[-4000:]
    releases = fleet.releases()
    assert [name for name in GATEWAYS if releases[name] != before[name]] == back
    status, output = fleet.play(tree, "gateways")
    assert status == 0, output[-4000:]
    assert fleet.releases() == before
    assert fleet.book(output)["waves"][-1]["gateways"] == back
