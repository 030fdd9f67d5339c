"""What is not as it was signed, or signed by somebody else, is refused."""

import argparse
import subprocess
import tarfile
from pathlib import Path

import pytest

from tools import bundle

FILES = {"project.tar": b"", "artifacts/bridge.tar": b"wheels", "apt/trixie.tar": b"packages"}


def key(folder: Path, name: str) -> Path:
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A folder that is signed, beside the file that names its signer."""
    folder = tmp_path / "sealed"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    with tarfile.open(folder / "project.tar", "w"):
        pass
    own = key(tmp_path, "own")
    bundle.seal(folder, {"arch": "arm64", "sets": {}}, own)
    (tmp_path / "signers").write_text(f"edge-telemetry {own.with_suffix('.pub').read_text()}")
    return folder


def test_it_is_taken_as_it_was_signed(sealed: Path, tmp_path: Path) -> None:
    said = bundle.verify(sealed, tmp_path / "signers")
    assert said["arch"] == "arm64"
    assert set(said["files"]) == set(FILES)


def test_a_changed_an_added_and_a_missing_file_are_named(sealed: Path, tmp_path: Path) -> None:
    (sealed / "artifacts/bridge.tar").write_bytes(b"others")
    (sealed / "artifacts/more.tar").write_bytes(b"")
    (sealed / "apt/trixie.tar").unlink()
    with pytest.raises(bundle.BundleError, match="not as they were signed") as caught:
        bundle.verify(sealed, tmp_path / "signers")
    named = ("apt/trixie.tar", "artifacts/bridge.tar", "artifacts/more.tar")
    assert all(name in str(caught.value) for name in named)


def test_a_changed_manifest_is_refused(sealed: Path, tmp_path: Path) -> None:
    text = (sealed / "manifest.json").read_text()
    (sealed / "manifest.json").write_text(text.replace("arm64", "amd64"))
    with pytest.raises(bundle.BundleError, match="signature: "):
        bundle.verify(sealed, tmp_path / "signers")


@pytest.mark.parametrize(("name", "namespace"), [("other", bundle.NAMESPACE), ("own", "file")])
def test_another_signer_or_purpose_is_refused(
    sealed: Path, tmp_path: Path, name: str, namespace: str
) -> None:
    signing = tmp_path / name if name == "own" else key(tmp_path, name)
    (sealed / "manifest.sig").unlink()
    manifest = sealed / "manifest.json"
    sign = ["ssh-keygen", "-q", "-Y", "sign", "-f", signing, "-n", namespace, manifest]
    subprocess.run(sign, check=True, capture_output=True)
    (sealed / "manifest.json.sig").rename(sealed / "manifest.sig")
    with pytest.raises(bundle.BundleError, match="signature: "):
        bundle.verify(sealed, tmp_path / "signers")


def test_an_archive_that_is_cut_off_is_refused(sealed: Path, tmp_path: Path) -> None:
    archive = tmp_path / "bundle.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sealed.iterdir():
            tar.add(path, path.name)
    options = argparse.Namespace(
        archive=archive, signers=tmp_path / "signers", to=tmp_path / "unpacked"
    )
    target = bundle.unpack(options)
    assert (target / "artifacts/bridge.tar").read_bytes() == b"wheels"
    archive.write_bytes(archive.read_bytes()[:6000])
    with pytest.raises(bundle.BundleError):
        bundle.unpack(options)
    # Nothing half-unpacked stays.
    assert [path.name for path in options.to.iterdir()] == [target.name]
