"""The certificate and key that are in force: loaded, shown to work, and exchanged while connections come.

Knows files and `ssl`, no socket and no process. Invariants:

- what is in force has made a handshake here, in memory, and its Certificate is the one that was shown in it;
- files that cannot be used leave in force what was; so does a certificate outside its time, if the one in force is in
  its own. An expired one is served, and loudly, where there is nothing better: whoever checks it hangs up, and the
  others are calls that would be lost as well;
- files that are being exchanged are not judged between the first and the last: a change counts when the next look
  finds it as the one before did;
- nobody resumes a session (tests/loopback/test_tls_rules.py). Tickets can be switched off; the cache of TLS 1.2, by
  session id, cannot be with `ssl`, and every context has one. So each connection begins in a context of its own, which
  dies with it, and finds certificate, suites and authorities in the loaded one: the SNI callback, which OpenSSL calls
  with or without a name, puts the connection there, and OpenSSL goes on asking the first one for sessions. Costs 0.3 ms
  and 13 KB a connection. Rejected: SSL_CTX_set_session_cache_mode by ctypes, which needs the offset of a pointer in an
  object of the interpreter.
"""

import ssl
import time

from audiohook.config import Tls
from audiohook.config.private_file import Stamp, read_file, stamp_of, unusable
from audiohook.errors import ConfigError
from audiohook.net.certificate import Certificate, read_certificate

SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"
"""Of TLS 1.2; those of 1.3 are all AEAD, with ephemeral keys."""

PROTOCOL = "http/1.1"
"""The one answer to ALPN: WebSockets over HTTP/2 (RFC 8441) are not spoken here."""

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_OPTIONS = ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
_CERTIFICATE = "PEM file with a certificate"
_KEY = "PEM file with a private key"
_REASONS = {
    "KEY_VALUES_MISMATCH": "is not the key of the certificate in tls.certificate_file; write both anew",
    "KEY_TYPE_MISMATCH": "is not the key of the certificate in tls.certificate_file; write both anew",
    "NO_CERTIFICATE_ASSIGNED": "is not the key of the certificate in tls.certificate_file; write both anew",
    "EE_KEY_TOO_SMALL": "is too short for TLS; make an RSA key of 2,048 bits, or one on P-256",
    "CA_MD_TOO_WEAK": "belongs to a certificate with a signature that is too weak; have it signed with SHA-256",
}

_Stamps = tuple[Stamp | None, ...]


class TlsPair:
    """One process's. Forked children inherit it and go on by themselves."""

    def __init__(self, settings: Tls) -> None:
        """Load the files that `settings` names. Raises ConfigError: a daemon must not start without them."""
        self._settings = settings
        self._stamp = self._seen = self._stamps()
        self._context, self.certificate = _load(settings)
        self.error: ConfigError | None = None
        """Why the files as they are now cannot be used; None while `certificate` is what stands in them."""

    def refresh(self) -> bool:
        """Look at the files (a stat each) and load them if they have changed and stand still.

        Returns whether something is to be told: other files are in force, or `error` is another one. Never raises.
        """
        stamp = self._stamps()
        if stamp == self._stamp:
            self._seen = stamp
            return False
        if stamp != self._seen:
            self._seen = stamp
            return False
        return self._take(stamp)

    def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """Return the server's side of a new connection."""
        settings, loaded = self._settings, self._context
        first = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _set_rules(first, settings)

        def go_on_in_the_loaded_one(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = loaded

        first.sni_callback = go_on_in_the_loaded_one
        return first.wrap_bio(incoming, outgoing, server_side=True)

    def _stamps(self) -> _Stamps:
        paths = (self._settings.certificate_file, self._settings.key_file, self._settings.client_ca_file)
        return tuple(stamp_of(path) for path in paths if path)

    def _take(self, stamp: _Stamps) -> bool:
        self._stamp = self._seen = stamp
        try:
            context, certificate = _load(self._settings)
            self._check_time(certificate)
        except ConfigError as error:
            known = str(self.error) == str(error)
            # Both hold frames, and these the files' content.
            error.__traceback__ = error.__context__ = None
            self.error = error
            return not known
        self._context, self.certificate, self.error = context, certificate, None
        return True

    def _check_time(self, certificate: Certificate) -> None:
        now_s = time.time()
        if not certificate.valid_at(now_s) and self.certificate.valid_at(now_s):
            how = f"holds a certificate that {certificate.lifetime_in_words(now_s)}"
            raise unusable(self._settings.certificate_file, f"{how}; write one that is valid now")


def _set_rules(context: ssl.SSLContext, settings: Tls) -> None:
    context.minimum_version = _VERSIONS[settings.minimum_version]
    context.options |= _OPTIONS
    context.num_tickets = 0
    if settings.client_ca_file:
        context.verify_mode = ssl.CERT_REQUIRED if settings.require_client_certificate else ssl.CERT_OPTIONAL


def _load(settings: Tls) -> tuple[ssl.SSLContext, Certificate]:
    """Return a context with the files of `settings`, and the certificate that it shows. Raises ConfigError."""
    path, key_path = settings.certificate_file, settings.key_file
    shown, _ = read_file(path, _CERTIFICATE, private=False, key="tls.certificate_file")
    key, _ = read_file(key_path, _KEY, private=True, key="tls.key_file")
    if b"-----BEGIN CERTIFICATE-----" not in shown:
        raise unusable(path, f"has no certificate in it; name a {_CERTIFICATE}", "tls.certificate_file")
    if b"PRIVATE KEY-----" not in key:
        raise unusable(key_path, f"has no private key in it; name a {_KEY}", "tls.key_file")
    if b"ENCRYPTED" in key:
        # Else OpenSSL would ask for the passphrase on the terminal, and wait.
        remedy = f"has a passphrase, and nobody is there to enter it; write it without: openssl pkey -in {key_path}"
        raise unusable(key_path, remedy, "tls.key_file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _set_rules(context, settings)
    context.set_ciphers(SUITES)
    context.set_alpn_protocols([PROTOCOL])
    try:
        context.load_cert_chain(path, key_path, password="")
        certificate = _shown_by(context)
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        words = _REASONS.get(reason, f"and {path} cannot be used together ({reason}); write both anew")
        raise unusable(key_path, words, "tls.key_file") from None
    if settings.client_ca_file:
        _load_authorities(context, settings.client_ca_file)
    return context, certificate


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    read_file(path, _CERTIFICATE, private=False, key="tls.client_ca_file")
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise unusable(path, f"cannot be used ({reason}); name a {_CERTIFICATE}", "tls.client_ca_file") from None


def _shown_by(context: ssl.SSLContext) -> Certificate:
    """Make a handshake in memory, without authorities of any kind; return the certificate that a client sees in it."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    der = client.getpeercert(binary_form=True)
    if der is None:
        raise ValueError("no certificate was shown")
    return read_certificate(der)
