"""Signatures of bundles, made by Sigstore's model-signing (the extra `sign`).

The signature is stored next to the bundle, as `<bundle>.sig`, since a further file in the bundle would change an output
of the pipeline.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.core.errors import UserError, not_installed
from sightline.predict import manifest


@dataclass(frozen=True)
class Signer:
    """The expected signer of a bundle.

    Attributes:
        key: File with the public key (PEM, elliptic curve); or else:
        identity: The signer by Sigstore, as an e-mail address or a workflow's address.
        issuer: The party that vouches for that identity, as the address of an OpenID Connect issuer.
    """

    key: Path | None = None
    identity: str | None = None
    issuer: str | None = None

    def __post_init__(self) -> None:
        if (self.identity is None) != (self.issuer is None):
            raise UserError("--identity and --issuer go together: who signed, and who vouches for that")
        if self.key is not None and self.identity is not None:
            raise UserError("a signature is checked with --key, or with --identity and --issuer, not with both")

    @property
    def named(self) -> bool:
        """Whether anyone is expected at all."""
        return self.key is not None or self.identity is not None


def signature_of(bundle: Path) -> Path:
    """Returns the path of a bundle's signature, which need not exist."""
    folder = bundle.resolve()
    return folder.with_name(f"{folder.name}.sig")


def sign(bundle: Path, key: Path | None = None, password: str | None = None, token: str | None = None) -> Path:
    """Signs a bundle, after its files were checked.

    Args:
        bundle: The bundle.
        key: File with a private key (PEM, elliptic curve); None to sign keyless, with Sigstore: over the network,
            by the identity of a workflow, or after a log-in in the browser.
        password: Of the private key.
        token: An identity token, for Sigstore.

    Returns:
        The signature.

    Raises:
        UserError: If the bundle is damaged, or the key cannot be used.
    """
    _check_files(bundle)
    signing = _library("signing")
    if key is not None:
        _check_key(key)
    target = signature_of(bundle)
    try:
        if key is not None:
            secret = password.encode() if password else None  # bytes, whatever its annotation says (1.1.1)
            config = signing.Config().use_elliptic_key_signer(private_key=key, password=secret)
        else:
            config = signing.Config().use_sigstore_signer(use_ambient_credentials=True, identity_token=token)
        config.sign(bundle, target)
    except Exception as error:  # the library's, and those of the libraries below it, share no base class
        with_what = f"the key {key}" if key is not None else "Sigstore"
        raise UserError(f"{bundle} was not signed with {with_what}: {_one_line(error)}") from None
    return target


def verify(bundle: Path, signer: Signer, signature: Path | None = None, digests_only: bool = False) -> str:
    """Checks that a bundle is unchanged since its export and, if it is signed, since its signing.

    Args:
        bundle: The bundle.
        signer: Whom its signature is expected from.
        signature: The signature, where it stands elsewhere than beside the bundle.
        digests_only: Leave a signature alone.

    Returns:
        A human-readable result.

    Raises:
        UserError: If anything is not as it should be, a signature that is there and cannot be checked included.
    """
    count = _check_files(bundle)
    result = f"{bundle}: {count} files are intact"
    path = signature or signature_of(bundle)
    if digests_only:
        return f"{result}; signatures were not checked"
    if not path.exists():
        if signer.named or signature is not None:
            raise UserError(f"{bundle} is not signed: there is no {path}")
        return f"{result}; not signed"
    if not signer.named:
        raise UserError(
            f"{bundle} is signed ({path}): give --key, or --identity and --issuer, of who should have signed it, or "
            "--digests-only"
        )
    verifying = _library("verifying")
    if signer.key is not None:
        _check_key(signer.key)
    try:
        if signer.key is not None:
            config = verifying.Config().use_elliptic_key_verifier(public_key=signer.key)
        else:
            config = verifying.Config().use_sigstore_verifier(identity=signer.identity, oidc_issuer=signer.issuer)
        config.verify(bundle, path)
    except Exception as error:  # see `sign`
        if changed := _changed_files(str(error)):
            raise UserError(
                f"{bundle} is not what was signed ({path}): {', '.join(changed)} changed since; do not use it, or, if "
                "the change was yours, sign it again"
            ) from None
        raise UserError(f"the signature {path} is not valid for {bundle}: {_one_line(error)}") from None
    return f"{result}, signed with {signer.key or signer.identity}"


def _check_key(key: Path) -> None:
    """Says what is wrong with a key before it is taken for a fault of the signature.

    Raises:
        UserError: If there is no such file, or it holds another kind of key.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    try:
        content = key.read_bytes()
    except OSError as error:
        raise UserError(f"--key: {key} cannot be read: {error.strerror}") from None
    loaded: object
    try:
        loaded = load_pem_private_key(content, None) if b"PRIVATE" in content else load_pem_public_key(content)
    except TypeError:  # with a password, which the caller has
        return
    except ValueError as error:
        raise UserError(f"--key: {key} is not a PEM key: {_one_line(error)}") from None
    if not isinstance(loaded, EllipticCurvePrivateKey | EllipticCurvePublicKey):
        raise UserError(
            f"--key: {key} is not an elliptic curve key; openssl ecparam -name prime256v1 -genkey -noout -out "
            "key.pem makes one"
        )


def _check_files(bundle: Path) -> int:
    """Returns how many files a bundle has; all are as exported, and nothing else is there."""
    content = manifest.verify_files(bundle)
    if strangers := manifest.unlisted(bundle, content):
        raise UserError(
            f"{bundle} contains files that were not exported: {', '.join(strangers)}; remove them, or export again"
        )
    return len(content["files"]) + 1


def _changed_files(message: str) -> list[str]:
    """Returns the files that differ from those signed, as model-signing's message of a mismatch names them."""
    # A digest with a quotation mark among its bytes makes Python write the other marks of the message with backslashes.
    differing = re.findall(r"Hash mismatch for \\?'([^'\\]+)\\?'", message)
    lists = re.findall(r"(?:Extra|Missing) files (?:found )?in model '[^']*': ([^'\"]+)", message)
    return sorted({*differing, *(name for names in lists for name in names.split(", "))})


def _library(module: str) -> Any:
    try:
        from model_signing import signing, verifying
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "sign") from None
    return {"signing": signing, "verifying": verifying}[module]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
