from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from sightline.core import files
from sightline.core.errors import UserError
from sightline.predict import manifest
from sightline.predict.bundle import Bundle
from sightline.predict.signing import Signer, sign, signature_of, verify
from tests.cli.test_cli import run
from tests.exported import Project

pytest.importorskip("OpenSSL", reason="model-signing imports pyopenssl, and the extra `sign` brings it")


@pytest.fixture
def bundle(project: Project, tmp_path: Path) -> Path:
    return shutil.copytree(project.bundle, tmp_path / "bundle")


def keys(folder: Path, name: str = "key", password: bytes | None = None) -> tuple[Path, Path]:
    """Makes a private and a public key, as `openssl` would."""
    private = ec.generate_private_key(ec.SECP256R1())
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    paths = folder / f"{name}.pem", folder / f"{name}.pub"
    paths[0].write_bytes(
        private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    paths[1].write_bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return paths


def test_a_bundle_without_a_signature_has_its_digests(bundle: Path) -> None:
    assert verify(bundle, Signer()) == f"{bundle}: 9 files are intact; not signed"


def test_a_signature_stands_beside_the_bundle_which_stays_as_it_is(bundle: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    before = files.sha256_tree(bundle)
    assert sign(bundle, private) == signature_of(bundle) == tmp_path / "bundle.sig"
    assert files.sha256_tree(bundle) == before
    assert verify(bundle, Signer(public)).endswith(f"intact, signed with {public}")
    assert Bundle.load(bundle).classes


def test_a_change_that_the_manifest_was_made_to_fit_breaks_the_signature(bundle: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    sign(bundle, private)
    (bundle / "model_card.md").write_text("trust me")
    content = json.loads((bundle / "manifest.json").read_text())
    content["files"]["model_card.md"]["sha256"] = files.sha256_file(bundle / "model_card.md")
    files.write_json(bundle / "manifest.json", manifest.sealed(content))
    assert "are intact" in verify(bundle, Signer(), digests_only=True)
    with pytest.raises(UserError) as caught:
        verify(bundle, Signer(public))
    assert str(caught.value) == (
        f"{bundle} is not what was signed ({signature_of(bundle)}): manifest.json, model_card.md changed since; do not "
        "use it, or, if the change was yours, sign it again"
    )
    (bundle / "model_card.md").unlink()
    del content["files"]["model_card.md"]
    files.write_json(bundle / "manifest.json", manifest.sealed(content))
    with pytest.raises(UserError, match=r": manifest.json, model_card.md changed since"):
        verify(bundle, Signer(public))


def test_another_key_does_not_do(bundle: Path, tmp_path: Path) -> None:
    sign(bundle, keys(tmp_path)[0])
    with pytest.raises(UserError, match="is not valid for"):
        verify(bundle, Signer(keys(tmp_path, "other")[1]))


def test_a_signature_that_is_there_is_never_passed_over(bundle: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    sign(bundle, private)
    with pytest.raises(UserError, match=r"is signed .*give --key, or --identity and --issuer.*or --digests-only"):
        verify(bundle, Signer())
    assert verify(bundle, Signer(), digests_only=True).endswith("signatures were not checked")
    signature_of(bundle).unlink()
    with pytest.raises(UserError, match=r"is not signed: there is no .*bundle.sig"):
        verify(bundle, Signer(public))


def test_what_was_not_exported_is_named(bundle: Path, tmp_path: Path) -> None:
    (bundle / "extra.pkl").write_bytes(b"")
    with pytest.raises(UserError, match=r"contains files that were not exported: extra.pkl"):
        verify(bundle, Signer())
    with pytest.raises(UserError, match="contains files that were not exported"):
        sign(bundle, keys(tmp_path)[0])


def test_every_file_of_it_is_protected(bundle: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    sign(bundle, private)
    for path in sorted(bundle.iterdir()):
        data = path.read_bytes()
        for changed in (data[:-1], data + b"\n", bytes([data[0] ^ 1]) + data[1:]):
            path.write_bytes(changed)
            with pytest.raises(UserError):
                verify(bundle, Signer(public))
        path.write_bytes(data)
        path.rename(tmp_path / "away")
        with pytest.raises(UserError):
            verify(bundle, Signer(public))
        (tmp_path / "away").rename(path)
    assert verify(bundle, Signer(public))


def test_a_key_that_cannot_be_used_is_one_line(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--key: .*gone.pem cannot be read: No such file"):
        sign(bundle, tmp_path / "gone.pem")
    locked, public = keys(tmp_path, password=b"secret")
    with pytest.raises(UserError, match="was not signed") as caught:
        sign(bundle, locked)
    assert "\n" not in str(caught.value)
    sign(bundle, locked, "secret")
    assert verify(bundle, Signer(public))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_whom_to_expect_is_said_in_one_way(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="go together"):
        Signer(identity="me@example.org")
    with pytest.raises(UserError, match="not with both"):
        Signer(tmp_path / "key.pub", "me@example.org", "https://issuer.example.org")


def test_without_the_extra_it_is_named(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(UserError, match=r"pip install .*\[sign\]'"):
        sign(bundle, keys(tmp_path)[0])
    assert verify(bundle, Signer()).endswith("not signed")


def test_the_commands(bundle: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    assert run("verify", bundle)[:2] == (0, f"{bundle}: 9 files are intact; not signed\n")
    assert run("sign", bundle, "--key", private) == (0, "", f"{bundle} -> {tmp_path / 'bundle.sig'}\n")
    assert run("verify", bundle, "--key", public)[0] == 0
    code, out, err = run("verify", bundle)
    assert (code, out) == (2, "")
    assert err.startswith(f"sightline: {bundle} is signed")


def test_a_key_that_is_missing_or_of_another_kind_is_no_fault_of_the_signature(bundle: Path, tmp_path: Path) -> None:
    sign(bundle, keys(tmp_path)[0])
    other = ed25519.Ed25519PrivateKey.generate()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "other.pem").write_bytes(other.private_bytes(*form))
    for path, why in (
        (tmp_path / "none.pub", "cannot be read"),
        (tmp_path / "other.pem", "is not an elliptic curve key"),
    ):
        with pytest.raises(UserError, match=rf"^--key: .*{path.name} {why}"):
            verify(bundle, Signer(path))
        with pytest.raises(UserError, match=rf"^--key: .*{path.name} {why}"):
            sign(bundle, path)
