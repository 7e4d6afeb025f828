"""API keys and shared secrets: which are valid now, and which of them a request shows.

Pure. Knows neither the file (`config/keys.py`) nor headers. Several keys may belong to one organization, and several
shared secrets may be valid, so that one can be exchanged for another without a call lost: add the new one, change the
peer, take the old one away.

Invariant: the time of a look-up does not depend on which candidate matches, nor on how much of one matches.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, the organization (a UUID in lower case) that it belongs to, and the secret that signs its requests.

    An empty secret means that this organization's requests come unsigned. Key and secret are in no repr: one in a
    traceback or a log line would be one in many hands.
    """

    organization: str
    api_key: str = field(repr=False)
    secret: bytes = field(repr=False)


class Keyring:
    """What is valid at one time. Never changes; a new file makes a new one."""

    def __init__(self, keys: Sequence[ApiKey], shared_secrets: Sequence[str] = ()) -> None:
        self._keys = [(_digest(key.api_key), key) for key in keys]
        self._shared = [_digest(secret) for secret in shared_secrets]

    def __len__(self) -> int:
        """Return the number of API keys."""
        return len(self._keys)

    @property
    def shared_secrets(self) -> int:
        """How many shared secrets are valid."""
        return len(self._shared)

    def find(self, api_key: str) -> ApiKey | None:
        """Return the entry with this key."""
        digest = _digest(api_key)
        found = None
        for candidate, key in self._keys:
            if hmac.compare_digest(candidate, digest):
                found = key  # and no break: see the invariant
        return found

    def admits(self, shared_secret: str) -> bool:
        """Return whether this is one of the shared secrets."""
        digest = _digest(shared_secret)
        admitted = False
        for candidate in self._shared:
            admitted |= hmac.compare_digest(candidate, digest)
        return admitted


def _digest(text: str) -> bytes:
    # compare_digest hides content but not length; digests have one length. surrogatepass: any text has a digest.
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
