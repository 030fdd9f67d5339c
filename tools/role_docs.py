"""Writes roles/<role>/README.md from the role's argument specs: `make docs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parent.parent / "roles"


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def document(role: Path) -> str:
    """The text of a role's README: what it is for, and its options."""
    specs = read(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]
    defaults = read(role / "defaults" / "main.yml")
    about = "".join(f"\n{line}\n" for line in specs.get("description", []))
    lines = []
    for name, option in specs["options"].items():
        default = "required" if option.get("required") else f"`{defaults[name]}`"
        cells = (f"`{name}`", option["type"], str(option["description"]), default)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    head = "| option | type | what it is | default |\n|---|---|---|---|\n"
    note = "Made by `make docs` from `meta/argument_specs.yml` and `defaults/main.yml`."
    title = f"# {role.name}\n{specs['short_description']}.\n"
    return f"{title}{about}\n{head}" + "\n".join(lines) + f"\n\n{note}\n"


def roles() -> list[Path]:
    """The folders of the roles."""
    return sorted(p for p in ROLES.iterdir() if (p / "meta").is_dir())


if __name__ == "__main__":
    for folder in roles():
        (folder / "README.md").write_text(document(folder), encoding="utf-8")
