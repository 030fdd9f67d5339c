"""The artifact table and what reads it."""

import hashlib
import re
import runpy
import tarfile
from pathlib import Path

import pyspark
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ARTIFACT = ROOT / "roles" / "artifact"
TABLE = yaml.safe_load((ARTIFACT / "vars" / "main.yml").read_text(encoding="utf-8"))
FETCH = runpy.run_path(str(ARTIFACT / "files" / "fetch.py"))


@pytest.mark.parametrize("name", [n for n, e in TABLE["artifact_table"].items() if "sha256" in e])
def test_sums_are_sha256(name: str) -> None:
    for value in TABLE["artifact_table"][name]["sha256"].values():
        assert re.fullmatch(r"[0-9a-f]{64}", value)


def test_same_files_give_the_same_archive(tmp_path: Path) -> None:
    archives = []
    for number in range(2):
        folder = tmp_path / str(number)
        (folder / "bin").mkdir(parents=True)
        names = ["b", "a", "bin/run"]
        for name in names if number else reversed(names):
            (folder / name).write_text(name)
        archive = tmp_path / f"{number}.tar"
        FETCH["pack"](folder, archive)
        archives.append(hashlib.sha256(archive.read_bytes()).hexdigest())
    assert archives[0] == archives[1]
    with tarfile.open(tmp_path / "0.tar") as tar:
        assert tar.getnames() == ["a", "b", "bin/run"]
        assert tar.getmember("bin/run").mode == 0o755


def test_a_changed_download_is_refused_and_named(tmp_path: Path) -> None:
    part = tmp_path / "thing-1-any.part"
    part.write_bytes(b"not what was locked")
    entry = {"kind": "maven", "sha256": {"any": "0" * 64}}
    with pytest.raises(FETCH["FetchError"], match=r"thing: .*the table says 0000") as caught:
        FETCH["check"]("thing", part, entry, "amd64")
    assert "rejected" in str(caught.value)
    assert not part.exists()


def test_java_is_compiled_against_what_hosts_have() -> None:
    pom = (ROOT / "spark_app" / "jvm" / "pom.xml").read_text(encoding="utf-8")
    compiled_with = re.findall("<spark.version>(.*)</", pom)[0]
    lock = (ARTIFACT / "files" / "locks" / "spark.txt").read_text(encoding="utf-8")
    assert f"\npyspark=={compiled_with} " in f"\n{lock}"
    found = re.findall(
        r"<artifactId>([\w.-]+)</artifactId>\s*<version>(.+)</version>\s*<scope>provided<", pom
    )
    versions = {name: version.replace("${spark.version}", compiled_with) for name, version in found}
    table = TABLE["artifact_table"]
    coordinates = table["spark_kafka"]["coordinates"] + table["postgresql_jdbc"]["coordinates"]
    # Spark itself has the rest.
    jars = {jar.name for jar in (Path(pyspark.__file__).parent / "jars").iterdir()}
    jars |= {"-".join(coordinate.split(":")[1:]) + ".jar" for coordinate in coordinates}
    assert len(versions) >= pom.count("<scope>provided<") > 0
    assert {f"{name}-{version}.jar" for name, version in versions.items()} <= jars
    assert re.search(r"<artifactId>postgresql</artifactId>\s*<version>(.+)<", pom)[1] in {
        coordinate.split(":")[2] for coordinate in table["postgresql_jdbc"]["coordinates"]
    }


@pytest.mark.parametrize("lock", sorted((ARTIFACT / "files" / "locks").glob("*.txt")))
def test_every_locked_package_has_hashes(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    blocks = re.findall(r"(?m)^[A-Za-z0-9].*(?:\n .*)*", text)
    assert blocks
    assert all("--hash=sha256:" in block for block in blocks)
