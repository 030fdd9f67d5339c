"""What is fetched is checked by a sum, and what is shipped is named."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.output.json import JsonV1Dot6

from tools import sbom

ROOT = Path(__file__).resolve().parents[2]
ROLES = ROOT / "roles"
PLAYBOOKS = sorted(
    path
    for folder in (ROLES, ROOT / "playbooks", ROOT / "molecule")
    for path in folder.rglob("*.yml")
    if {"tasks", "handlers", "playbooks", "molecule"} & {*path.relative_to(ROOT).parts[:-1]}
)
# Programs that fetch; `artifact` alone runs some, on the controller, by locks and sums.
DOWNLOADERS = re.compile(r"\b(curl|wget|pip3? install|npm|git clone|go install|mvn)\b")


def tasks(node: Any) -> Iterator[dict[str, Any]]:
    """All tasks in a file, those in blocks and plays too."""
    if isinstance(node, list):
        for item in node:
            yield from tasks(item)
    elif isinstance(node, dict):
        yield node
        for key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            yield from tasks(node.get(key))


def has_address(options: dict[str, Any]) -> bool:
    return bool(re.search(r"https?://", json.dumps(options)))


def runs_downloader(options: dict[str, Any]) -> bool:
    return bool(DOWNLOADERS.search(json.dumps(options)))


def is_unlocked(options: dict[str, Any]) -> bool:
    return not re.search("--require-hashes|--no-index", json.dumps(options))


def always(_: dict[str, Any]) -> bool:
    return True


# When a module's options have it take something from elsewhere that no sum covers.
FETCHES: dict[str, Callable[[dict[str, Any]], bool]] = {
    **dict.fromkeys(("command", "shell", "raw", "script"), runs_downloader),
    **dict.fromkeys(("apt", "unarchive", "copy"), has_address),
    **dict.fromkeys(("git", "apt_key"), always),
    "get_url": lambda options: "sha256:" not in str(options.get("checksum")),
    "pip": is_unlocked,
    # A question to a service, unless the answer becomes a file.
    "uri": lambda options: "dest" in options,
    # apt checks each package by the repository's signature.
    "deb822_repository": lambda options: not options.get("signed_by"),
}


def fetches_unchecked(task: dict[str, Any]) -> bool:
    for name, given in task.items():
        options = given if isinstance(given, dict) else {"free_form": str(given)}
        if FETCHES.get(name.rsplit(".", 1)[-1], lambda _: False)(options):
            return True
    return False


def test_there_are_tasks_to_look_at() -> None:
    found = [task for path in PLAYBOOKS for task in tasks(yaml.safe_load(path.read_text("utf-8")))]
    assert len(found) > 200


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_task_fetches_without_a_sum(path: Path) -> None:
    for task in tasks(yaml.safe_load(path.read_text("utf-8"))):
        assert not fetches_unchecked(task), task.get("name")


@pytest.mark.parametrize(
    "task",
    [
        "ansible.builtin.get_url: {url: 'https://example.org/x', dest: /x}",
        "ansible.builtin.unarchive: {src: 'https://example.org/x.tar', dest: /x}",
        "ansible.builtin.apt: {deb: 'https://example.org/x.deb'}",
        "ansible.builtin.command: curl -o /x https://example.org/x",
        "ansible.builtin.command: {argv: [sh, -c, 'wget example.org']}",
        "ansible.builtin.pip: {name: x}",
        "ansible.builtin.git: {repo: 'https://example.org/x', dest: /x}",
        "ansible.builtin.uri: {url: 'https://example.org/x', dest: /x}",
    ],
)
def test_a_task_that_does_is_found(task: str) -> None:
    assert fetches_unchecked(yaml.safe_load(task))


def test_each_artifact_has_a_sum_or_a_lock_or_is_made_here() -> None:
    for name, entry in sbom.artifact_table().items():
        if entry["kind"] in {"maven", "go"}:
            assert entry["sha256"], name
        else:
            assert entry["kind"] in {"python", "project", "jar"}, name


def test_the_controllers_own_packages_have_hashes() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        blocks = re.findall(r"(?m)^[A-Za-z0-9].*(?:\n .*)*", lock.read_text("utf-8"))
        assert all("--hash=sha256:" in block for block in blocks), lock
    bootstrap = (ROOT / "tools" / "bootstrap.sh").read_text("utf-8")
    installs = re.findall(r"pip install.*", bootstrap)
    assert installs
    assert all("--require-hashes" in line for line in installs)


def test_each_kind_of_hosts_bill_names_what_its_roles_install() -> None:
    named = {name for names in sbom.HOSTS.values() for name in names}
    assert named == set(sbom.artifact_table())
    installed = set()
    for path in ROLES.glob("*/tasks/*.yml"):
        installed |= set(
            re.findall(
                r"(?:artifact_name|python_app_wheels): ([a-z_]+)$", path.read_text(), re.MULTILINE
            )
        )
    library = (ROOT / "report" / "library.py").read_text("utf-8")
    installed |= set(re.findall(r'(?m)^ARTIFACT = "([a-z_]+)"$', library))
    assert installed == named


@pytest.mark.parametrize("host", sbom.HOSTS)
def test_a_bill_is_whole(host: str) -> None:
    written = json.loads(JsonV1Dot6(sbom.bill(host)).output_as_string())
    assert (written["bomFormat"], written["specVersion"]) == ("CycloneDX", "1.6")
    refs = [component["bom-ref"] for component in written["components"]]
    assert len(refs) == len(set(refs))
    reached = {ref for entry in written["dependencies"] for ref in entry.get("dependsOn", [])}
    assert set(refs) <= reached
    table = sbom.artifact_table()
    by_name = {component["name"]: component for component in written["components"]}
    for name in sbom.HOSTS[host]:
        for value in table[name].get("sha256", {}).values():
            assert value in [entry["content"] for entry in by_name[name]["hashes"]]
        if "lock" in table[name]:
            lock = (ROOT / "roles" / "artifact" / "files" / table[name]["lock"]).read_text("utf-8")
            for package, version in re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", lock):
                assert by_name[package]["version"] == version
                assert by_name[package]["hashes"]
