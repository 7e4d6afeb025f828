"""With what the load client shows that it may place calls: an API key, the secret that signs, a shared secret.

Secrets come out of files that only their owner can read, never from the command line, which every user of a machine can
list. No secret is in a repr, and none in an error. What a daemon makes of them: `auth/`.
"""

import os
import re
import secrets
import stat
import time
import uuid
from base64 import b64decode
from pathlib import Path

import msgspec

from audiohook.auth.signing import Stamp, sign
from audiohook.load.errors import LoadError
from audiohook.load.target import Target

API_KEY_VARIABLE = "AUDIOHOOK_API_KEY"
ANY_API_KEY = "YXVkaW9ob29rLWxvYWQ="
"""Genesys always sends a key; this one is sent where none was named ("audiohook-load")."""

ANY_ORGANIZATION = "a0d10400-5eed-4000-8000-000000000001"
NONCE_BYTES = 18
MAX_FILE_BYTES = 4096

_API_KEY = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_VISIBLE = re.compile(r"[!-~]+")


class Credentials(msgspec.Struct, frozen=True):
    """An empty `secret` leaves `audiohook2` requests unsigned; an empty `shared_secret` sends `context` none."""

    api_key: str = ANY_API_KEY
    organization: str = ANY_ORGANIZATION
    secret: bytes = b""
    shared_secret: str = ""
    secret_header: str = "x-audiohook-secret"

    def __repr__(self) -> str:
        return "Credentials(…)"

    def admitting(self) -> tuple[tuple[str, str], ...]:
        """Return the headers that let a `context` call in."""
        return ((self.secret_header, self.shared_secret),) if self.shared_secret else ()

    def signed(
        self, target: Target, headers: tuple[tuple[str, str], ...], age_s: int = 0
    ) -> tuple[tuple[str, str], ...]:
        """Return an `audiohook2` request's headers with those of a signature made `age_s` ago, if there is a secret."""
        if not self.secret:
            return headers
        stamp = Stamp(secrets.token_urlsafe(NONCE_BYTES), int(time.time()) - age_s)
        return headers + sign(target.path, (("host", target.authority), *headers), self.secret, stamp)


def read_credentials(
    *,
    api_key: str | None = None,
    secret_file: Path | None = None,
    organization: str | None = None,
    shared_secret_file: Path | None = None,
) -> Credentials:
    """Return the credentials that a command line names; LoadError says what is wrong with them, and shows none."""
    api_key = api_key or os.environ.get(API_KEY_VARIABLE) or ANY_API_KEY
    if not _API_KEY.fullmatch(api_key):
        raise LoadError("the API key has characters that none has: wanted letters, digits, + / _ - and up to two =")
    try:
        organization = str(uuid.UUID(organization or ANY_ORGANIZATION))
    except ValueError:
        raise LoadError("the organization is not a UUID: wanted the id of the Genesys Cloud organization") from None
    shared_secret = "" if shared_secret_file is None else _read(shared_secret_file)
    if shared_secret and not _VISIBLE.fullmatch(shared_secret):
        raise LoadError(f"{shared_secret_file}: the shared secret must be visible ASCII characters without blanks")
    secret = b"" if secret_file is None else _decoded(secret_file, _read(secret_file))
    return Credentials(api_key, organization, secret, shared_secret)


def _decoded(path: Path, text: str) -> bytes:
    bare = text.rstrip("=")
    if not _BASE64.fullmatch(text) or len(bare) % 4 == 1:
        raise LoadError(f"{path}: not base64; wanted the client secret as it stands in Genesys Cloud")
    return b64decode(bare + "=" * (-len(bare) % 4))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise LoadError(f"{path}: others than its owner have access; run: chmod 600 {path}")
            text = file.read(MAX_FILE_BYTES).decode("ascii").strip()
    except OSError as error:
        raise LoadError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LoadError(f"{path}: not ASCII; wanted one secret in it and nothing else") from None
    if not text:
        raise LoadError(f"{path}: empty; wanted one secret in it and nothing else")
    return text
