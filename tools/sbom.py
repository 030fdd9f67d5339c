"""Writes a bill of materials (CycloneDX 1.6, JSON) for each kind of host: `make sbom`.

It names what the project itself brings to a host: artifacts by the table and wheels by the locks,
each with the SHA-256 by which it is checked (one of them: files differ by processor and Python).
Debian's packages are the host's own: `dpkg` knows them.
"""

from __future__ import annotations

import argparse
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parent.parent
ARTIFACT = ROOT / "roles" / "artifact"
# What the roles of each kind of host install, by the names in the table; a test holds it complete.
HOSTS = {
    "gateway": ["ansible", "bridge", "edge_telemetry"],
    "core": [
        *("kafka", "jmx_exporter", "minio", "spark", "spark_kafka"),
        *("edge_telemetry", "postgresql_jdbc", "store_writer"),
    ],
    "database": ["database", "edge_telemetry"],
    # What goes into the page of `make report`.
    "report": ["uplot_js"],
}


def artifact_table() -> dict[str, dict[str, Any]]:
    """The artifact table of roles/artifact."""
    text = (ARTIFACT / "vars" / "main.yml").read_text(encoding="utf-8")
    table = yaml.safe_load(text)["artifact_table"]
    assert isinstance(table, dict)  # noqa: S101 - of a file of ours
    return table


def sha256(value: str) -> HashType:
    """A hash as CycloneDX has it."""
    return HashType(alg=HashAlgorithm.SHA_256, content=value)


def wheels(entry: dict[str, Any]) -> Iterator[Component]:
    """The locked Python packages of an artifact; pip takes one of each package's hashes."""
    lock = (ARTIFACT / "files" / str(entry["lock"])).read_text(encoding="utf-8")
    for block in re.findall(r"(?m)^[A-Za-z0-9].*(?:\n .*)*", lock):
        name, version = re.match(r"([\w.-]+)==([^\s;]+)", block).groups()  # type: ignore[union-attr]
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=version,
            purl=PackageURL("pypi", None, name.lower().replace("_", "-"), version),
            hashes=map(sha256, re.findall(r"--hash=sha256:([0-9a-f]{64})", block)),
        )


def jars(name: str, entry: dict[str, Any], cache: Path | None) -> Iterator[Component]:
    """The jars of an artifact by coordinates; with the fetched archive also what those need."""
    for coordinate in entry["coordinates"]:
        group, artifact, version = coordinate.split(":")
        yield Component(
            type=ComponentType.LIBRARY,
            group=group,
            name=artifact,
            version=version,
            purl=PackageURL("maven", group, artifact, version),
        )
    archive = cache / f"{name}-{entry['version']}-any.tar" if cache else None
    if not (entry.get("closure") and archive and archive.exists()):
        return
    named = {"-".join(c.split(":")[1:]) for c in entry["coordinates"]}
    with tarfile.open(archive) as tar:
        for stem in sorted(Path(member).stem for member in tar.getnames()):
            # `name-version`, where a version begins with a digit.
            parts = re.fullmatch(r"(.+?)-(\d[\w.+-]*)", stem)
            if stem not in named:
                title, version = parts.groups() if parts else (stem, None)
                yield Component(type=ComponentType.LIBRARY, name=title, version=version)


def artifact(name: str, entry: dict[str, Any]) -> Component:
    """The artifact itself."""
    purl = None
    if entry["kind"] == "go":
        namespace, module = entry["package"].rsplit("/", 1)
        purl = PackageURL("golang", namespace, module, entry["version"])
    return Component(
        type=ComponentType.APPLICATION,
        bom_ref=name,
        name=name,
        version=str(entry.get("version", "")) or None,
        purl=purl,
        hashes=map(sha256, entry.get("sha256", {}).values()),
    )


def bill(host: str, cache: Path | None = None) -> Bom:
    """The bill of one kind of host.

    Args:
        host: a key of HOSTS.
        cache: folder with fetched archives; without it jars that others need are not named.
    """
    bom = Bom()
    root = Component(type=ComponentType.PLATFORM, name=f"edge-telemetry {host}")
    bom.metadata.component = root
    table = artifact_table()
    for name in HOSTS[host]:
        entry, parts = table[name], list[Component]()
        if entry["kind"] == "python":
            parts += wheels(entry)
        elif entry["kind"] == "maven":
            parts += jars(name, entry, cache)
        whole = artifact(name, entry)
        bom.components.update([whole, *parts])
        bom.register_dependency(root, [whole])
        bom.register_dependency(whole, parts)
    return bom


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="write a bill of materials per kind of host")
    parser.add_argument(
        "--to", type=Path, default=ROOT / "build" / "sbom", help="folder to write to"
    )
    default = Path("~/.cache/edge-telemetry/artifacts").expanduser()
    parser.add_argument("--cache", type=Path, default=default, help="what was fetched")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    for host in HOSTS:
        path = options.to / f"{host}.cdx.json"
        bom = bill(host, options.cache)
        path.write_text(JsonV1Dot6(bom).output_as_string(indent=2) + "\n", encoding="utf-8")
        print(f"{path}: {len(bom.components)} components")


if __name__ == "__main__":
    main()
