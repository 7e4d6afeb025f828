"""Whether a peer may enter, and under which address it counts: keys, signatures, shared secrets, lists of networks.

Puts `auth`'s pure verdicts together with what a process has and they have not: the keys file, the wall clock and the
connection's address. Says in log and counters why a peer was refused; the peer hears a status and nothing else.
"""

import logging
import time
from functools import lru_cache

from audiohook.auth.addresses import AddressList, caller_address, normal_address
from audiohook.auth.signature import SignaturePolicy
from audiohook.auth.verdict import FAILURE_DELAY_NS, Verdict, authenticate, check_shared_secret
from audiohook.config import Config, KeysFile
from audiohook.errors import FORBIDDEN_ADDRESS, UNAUTHORIZED, Refusal
from audiohook.session.context import DIALECT
from audiohook.session.events import AccessAsked
from audiohook.units import NS_PER_S
from audiohook.worker.strangers import Strangers

log = logging.getLogger("audiohook.worker")

LOOK_EVERY_NS = NS_PER_S
"""How often the keys file is looked at: one stat, unless it has changed."""

_connected_address = lru_cache(maxsize=1024)(normal_address)
"""Of addresses that sockets and proxies name: a few, as trunks and balancers are few, and each would be parsed anew for
every call. Nothing that a request says is kept here."""


class Access:
    """One worker's rules. Made from a configuration that has been checked; raises ConfigError for the keys file."""

    def __init__(self, config: Config) -> None:
        self._keys = KeysFile(config.auth.keys_file) if config.auth.keys_file else None
        self._policy = SignaturePolicy(config.auth.signature_age_seconds, config.auth.signature_skew_seconds)
        self._secret_header = config.auth.secret_header
        self._allowed = AddressList(config.server.allow)
        self._trusted = AddressList(config.server.trusted_proxies)
        self._wants_proxy_header = config.server.proxy_protocol
        self._looked_ns = 0
        self.strangers = Strangers()

    def turn(self, now_ns: int) -> None:
        """Look, now and then, whether the keys have changed. A file that is broken leaves the old keys valid."""
        self.strangers.turn(now_ns)
        if self._keys is None or now_ns - self._looked_ns < LOOK_EVERY_NS:
            return
        self._looked_ns = now_ns
        if not self._keys.refresh():
            return
        if self._keys.error is None:
            log.info("keys file read again keys=%d", len(self._keys.keyring))
        else:
            log.error("keys file cannot be used, the old keys stay valid: %s", self._keys.error)

    def wants_proxy_header(self, connected: str) -> bool:
        """Return whether a connection from address `connected` must begin with a PROXY protocol v2 header."""
        return self._wants_proxy_header and connected in self._trusted

    def is_proxy(self, connected: str) -> bool:
        """Return whether connections from this address are a trusted proxy's, made for any number of peers."""
        return connected in self._trusted

    def judge(self, asked: AccessAsked, connected: str) -> tuple[str, Refusal | None, int]:
        """Return the address under which the peer counts, and None or its refusal with the delay in ns.

        `connected` is the other end of the connection, or what a PROXY header said of it.
        """
        forwarded_for = asked.request.get("x-forwarded-for")
        if forwarded_for is None:
            caller = _connected_address(connected)
        else:
            caller = caller_address(connected, forwarded_for, self._trusted)
        if len(self._allowed) and (caller is None or caller not in self._allowed):
            text = "peer refused: its address is not in server.allow"
            self.strangers.note(FORBIDDEN_ADDRESS.slug, text, caller or connected)
            return connected, FORBIDDEN_ADDRESS, 0
        if self._keys is not None:
            verdict = self._judge_keys(asked)
            if not verdict.ok:
                text = f"peer refused: {verdict.reason} result={verdict.result}"
                self.strangers.note(f"{UNAUTHORIZED.slug} {verdict.result}", text, caller or connected)
                return caller or connected, UNAUTHORIZED, FAILURE_DELAY_NS
        return caller or connected, None, 0

    def _judge_keys(self, asked: AccessAsked) -> Verdict:
        assert self._keys is not None
        request, keyring = asked.request, self._keys.keyring
        if asked.dialect == DIALECT:
            return check_shared_secret(request.headers, self._secret_header, keyring)
        return authenticate(request.headers, request.target, keyring, self._policy, int(time.time()))
