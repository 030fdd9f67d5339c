"""The README stays short and true."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_readme_is_short() -> None:
    assert len(README.splitlines()) < 80


def test_its_two_commands_are_run_by_ci_and_by_the_demo_test() -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    assert block.split("\n") == ["make demo", "make test", ""]
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    demo_test = (ROOT / "tests" / "demo" / "test_demo.py").read_text(encoding="utf-8")
    assert '["make", "demo"]' in demo_test
    assert '["make", "demo-down"]' in demo_test


def test_every_target_it_names_exists() -> None:
    for target in re.findall(r"make ([a-z-]+)", README):
        assert re.search(rf"(?m)^{target}:", MAKEFILE), target


def test_every_room_it_names_exists_and_the_other_way_round() -> None:
    rooms = README.split("## The rooms")[1]
    named = {name.rstrip("/") for name in re.findall(r"(?m)`([a-z_]+/)`", rooms)}
    assert all((ROOT / name).is_dir() for name in named)
    hidden = {"requirements", "build", "results", "backups"}
    there = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith((".", "_"))}
    assert there - named - hidden == set()
