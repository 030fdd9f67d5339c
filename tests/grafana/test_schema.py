"""The dashboards against Grafana's own types (npm's @grafana/schema), by TypeScript's compiler.

Of each dashboard its whole, and of each panel the options and field settings of its kind: names
that Grafana does not know and values that it would not take are errors.
"""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.grafana.boards import BOARDS, annotations, panels

HERE = Path(__file__).parent / "schema"
BUILD = Path(__file__).resolve().parents[2] / "build" / "grafana-schema"
HEAD = """import type { Dashboard } from '@grafana/schema';
import type { Json } from './json';
"""
PANEL = "./node_modules/@grafana/schema/dist/types/raw/composable/{kind}/panelcfg/x/types.gen"


@pytest.fixture(scope="session")
def compiler() -> Path:
    """The folder with compiler and types, installed once from the lock file."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed: the dashboards are not checked against Grafana's types")
    BUILD.mkdir(parents=True, exist_ok=True)
    lock = BUILD / "package-lock.json"
    wanted = (HERE / "package-lock.json").read_text(encoding="utf-8")
    if not (BUILD / "node_modules").exists() or lock.read_text(encoding="utf-8") != wanted:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, BUILD)
        subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=BUILD, check=True
        )
    shutil.copy(HERE / "json.ts", BUILD)
    return BUILD


def check(compiler: Path, files: dict[str, str]) -> list[str]:
    """What the compiler has against files of these names and texts, a line for each error."""
    for name, text in files.items():
        (compiler / f"{name}.ts").write_text(text, encoding="utf-8")
    command = ["npx", "--no-install", "tsc", "--noEmit", "--strict", "--skipLibCheck"]
    modules = ["--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022"]
    done = subprocess.run(
        [*command, *modules, *(f"{name}.ts" for name in files)],
        cwd=compiler,
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()


def literal(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)


def source(board: Any) -> str:
    """A dashboard as TypeScript, each part declared with Grafana's type."""
    board = copy.deepcopy(board)
    for annotation in annotations(board):
        # Grafana's type describes the target of its own annotations alone, as its comment says.
        del annotation["target"]
    kinds = {panel["type"] for panel in panels(board)}
    text = HEAD
    for kind in sorted(kinds):
        text += f"import type * as {kind} from '{PANEL.format(kind=kind)}';\n"
    text += f"const board: Json<Dashboard> = {literal(board)};\n"
    for panel in panels(board):
        kind, number = panel["type"], panel["id"]
        text += f"// {panel['title']}\n"
        text += f"const o{number}: Json<{kind}.Options> = {literal(panel['options'])};\n"
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        if custom:
            text += f"const f{number}: Json<{kind}.FieldConfig> = {literal(custom)};\n"
    return text


def test_they_are_what_grafana_takes(compiler: Path) -> None:
    assert check(compiler, {uid: source(board) for uid, board in BOARDS.items()}) == []


def test_the_check_sees_mistakes(compiler: Path) -> None:
    mistakes: dict[tuple[Any, ...], object] = {
        ("title",): 7,
        ("refresh_rate",): "5s",
        ("panels", 0, "gridPos", "w"): "wide",
        ("panels", 0, "options", "showHeader"): "yes",
        ("panels", 0, "options", "header"): True,
        ("panels", 3, "fieldConfig", "defaults", "custom", "scaleDistribution", "type"): "round",
    }
    files = {}
    for number, (path, wrong) in enumerate(mistakes.items()):
        board = copy.deepcopy(BOARDS["edge-latency"])
        place = board
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = wrong
        files[f"mistake{number}"] = source(board)
    seen = "\n".join(check(compiler, files))
    for name, path in zip(files, mistakes, strict=True):
        assert f"{name}.ts" in seen, f"a wrong {path} passes"
