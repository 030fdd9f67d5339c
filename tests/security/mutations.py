"""Takes one safety setting away at a time, and wants a test to fail.

`python -m tests.security.mutations` works in a copy of the tree. A setting that is of a role takes
test hosts (`--roles kafka minio`): the role is put on the hosts of its scenario once, then with
each setting changed, and the tests run that should notice.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

from tests.security.settings import SETTINGS, Setting

ROOT = Path(__file__).resolve().parents[2]
_UNNOTICED = "nobody noticed"


@dataclass(frozen=True)
class Result:
    """What came of a setting that was changed."""

    setting: Setting
    noticed: bool


def main() -> int:
    """Try all, print the score, and return 1 if a change was not noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.security.mutations", description=__doc__)
    parser.add_argument("--roles", nargs="*", default=[], help="also these roles' settings")
    parser.add_argument("--result", type=Path, help="add to this score, as JSON")
    options = parser.parse_args()
    with copy_of_the_tree() as tree:
        results = []
        for result in chain(of_units(tree), of_roles(tree, options.roles)):
            results.append(result)
            verdict = "noticed" if result.noticed else _UNNOTICED
            print(f"{verdict:<15}{result.setting}", flush=True)
            if options.result:
                keep(options.result, result)
    noticed = sum(result.noticed for result in results)
    sys.stdout.write(f"{noticed} of {len(results)} noticed\n")
    return 0 if noticed == len(results) else 1


def keep(file: Path, result: Result) -> None:
    """Add a result to the file, in which those of other runs stay."""
    known = json.loads(file.read_text(encoding="utf-8"))["settings"] if file.exists() else {}
    # Settings that were changed since have another name.
    names = {str(setting) for setting in SETTINGS}
    settings = {name: value for name, value in known.items() if name in names}
    settings |= {str(result.setting): result.noticed}
    report = {"score": round(sum(settings.values()) / len(settings), 3), "settings": settings}
    file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def of_units(tree: Path) -> Iterator[Result]:
    """Settings that a test without hosts holds."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-x"]
    chosen = [setting for setting in SETTINGS if not setting.role]
    require_success([*pytest, *sorted({setting.test for setting in chosen})], tree, {})
    for setting in chosen:
        with changed(tree, setting):
            yield Result(setting, is_noticed([*pytest, setting.test], tree, {}))


def of_roles(tree: Path, roles: list[str]) -> Iterator[Result]:
    """Settings that the scenario of a role holds."""
    chosen = [setting for setting in SETTINGS if setting.role in roles]
    verify = ["molecule", "verify"]
    for role, group in groupby(chosen, lambda setting: setting.role):
        folder = tree / "roles" / role
        settings = list(group)
        try:
            if molecule(folder, "converge") != 0:
                message = f"molecule converge fails as things are in {folder}"
                raise RuntimeError(message)
            require_success(verify, folder, only(setting.test for setting in settings))
            for setting in settings:
                with changed(tree, setting):
                    if setting.anew:
                        molecule(folder, "destroy")
                    # One that does not even come up was noticed.
                    came_up = molecule(folder, "converge") == 0
                    noticed = not came_up or is_noticed(verify, folder, only([setting.test]))
                    yield Result(setting, noticed)
                molecule(folder, "converge")
        finally:
            molecule(folder, "destroy")


def molecule(folder: Path, step: str) -> int:
    """Runs a step of a role's scenario, and returns its exit status."""
    command = ["molecule", step]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode


def only(tests: Iterable[str]) -> dict[str, str]:
    """What makes pytest run these alone, by their names, inside of Molecule."""
    return {"PYTEST_ADDOPTS": f"-x -k '{' or '.join(sorted(set(tests)))}'"}


def require_success(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """See that the tests pass while nothing is changed: else their failing means nothing.

    Raises:
        RuntimeError: they do not.
    """
    if is_noticed(command, folder, environment):
        message = f"tests fail as things are: {' '.join(command)} in {folder}, {environment}"
        raise RuntimeError(message)


def is_noticed(command: list[str], folder: Path, environment: dict[str, str]) -> bool:
    """Whether a test failed; that none ran, or none could be read, does not count.

    Raises:
        RuntimeError: no test ran.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"NO_COLOR": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    # Of pytest's closing line, which has its seconds; Molecule counts with the same words.
    said = done.stdout + done.stderr
    outcomes = set(re.findall(r"\d+ (passed|failed|error)(?=.* in [\d.]+s)", said))
    if not outcomes:
        message = f"no test ran by {command} {environment}: {said[-4000:]}"
        raise RuntimeError(message)
    return not outcomes <= {"passed"}


@contextmanager
def copy_of_the_tree() -> Iterator[Path]:
    """A copy of what is git's or is to be, as it lies there now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    with tempfile.TemporaryDirectory(prefix="mutations-") as name:
        for path in listed.stdout.strip("\0").split("\0"):
            target = Path(name, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, target)
        # Where the root of a scenario is, for molecule.
        subprocess.run(["git", "init", "--quiet"], cwd=name, check=True)
        yield Path(name)


@contextmanager
def changed(tree: Path, setting: Setting) -> Iterator[None]:
    """The tree without this setting, for a while.

    Raises:
        LookupError: the file does not have the setting once.
    """
    path = tree / setting.path
    text = path.read_text(encoding="utf-8")
    if text.count(setting.safe) != 1:
        message = f"{setting.path} has {setting.safe!r} {text.count(setting.safe)} times, not once"
        raise LookupError(message)
    path.write_text(text.replace(setting.safe, setting.unsafe), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
