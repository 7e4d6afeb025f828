"""`python -m audiohook.net.tls_probe`: one real handshake, as a stranger makes it, and what came of it in words.

Started by the supervisor (`supervisor/certificate_watch.py`), which itself neither waits nor parses anything from a
network; resolving a name, connecting and the handshake may all hang, so this is a process of its own, which ends itself
after GIVE_UP_SECONDS whatever happens. Answers with one line on `report`: an Outcome in JSON.

What it looks at: somebody listens, TLS is agreed on, the chain leads to a trusted authority and, where a URL was given,
the certificate is for its name. Where it is not trusted, a second handshake asks for the certificate alone, so that its
last day is known all the same.
"""

import os
import signal
import socket
import ssl
import sys

import msgspec

from audiohook.net.certificate import Certificate, read_certificate
from audiohook.net.hygiene import inherited_fds
from audiohook.net.tls_socket import reason_of

WITHIN_SECONDS = 5.0
"""For each of connecting and the handshake; Genesys gives up at about as much."""

GIVE_UP_SECONDS = 15

PROXY_LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
"""The PROXY header of a proxy that speaks for itself (proxy-protocol.txt section 2.2)."""

_CHAIN = {
    9: "it is not valid yet",
    10: "it, or one that signed it, has expired",
    18: "it is signed by itself",
    19: "it is signed by an authority that is not trusted here",
    20: "its authority is not trusted here, or certificates between the two are missing in the file",
    21: "its authority is not trusted here, or certificates between the two are missing in the file",
}
"""OpenSSL's X509_V_ERR_ numbers that are met in practice; of others its own words are shown."""


class Wish(msgspec.Struct, frozen=True):
    """Where to make a handshake. `name` is said to the server; `check_name`: the certificate must be for it."""

    host: str
    port: int
    name: str
    check_name: bool
    proxy_header: bool
    ca_file: str


class Outcome(msgspec.Struct, frozen=True):
    """What came of it. `words` say what is wrong, or which version was agreed on."""

    ok: bool
    words: str
    certificate: Certificate | None = None


def probe(wish: Wish) -> Outcome:
    """Make the handshake. Never raises for what a peer or the network does."""
    try:
        context = ssl.create_default_context(cafile=wish.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        return Outcome(False, f"tls.probe_ca_file cannot be used ({error.strerror or error})")
    context.check_hostname = wish.check_name
    try:
        version, certificate = _shake_hands(wish, context)
    except ssl.SSLCertVerificationError as error:
        words = f"the certificate is not trusted: {_CHAIN.get(error.verify_code, error.verify_message)}"
        return Outcome(False, words, _certificate_alone(wish))
    except socket.gaierror as error:
        return Outcome(False, f"the name {wish.host} cannot be found: {error.strerror}")
    except TimeoutError:
        return Outcome(False, f"no handshake within {WITHIN_SECONDS:g} s")
    except ssl.SSLError as error:
        return Outcome(False, f"the handshake failed: {reason_of(error)}")
    except OSError as error:
        return Outcome(False, f"the connection failed: {error.strerror or type(error).__name__}")
    except ValueError as error:
        return Outcome(False, str(error))
    return Outcome(True, version, certificate)


def _certificate_alone(wish: Wish) -> Certificate | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        return _shake_hands(wish, context)[1]
    except (OSError, ValueError):
        return None


def _shake_hands(wish: Wish, context: ssl.SSLContext) -> tuple[str, Certificate]:
    with socket.create_connection((wish.host, wish.port), WITHIN_SECONDS) as connected:
        if wish.proxy_header:
            connected.sendall(PROXY_LOCAL)
        with context.wrap_socket(connected, server_hostname=wish.name or None) as agreed:
            der = agreed.getpeercert(binary_form=True)
            return agreed.version() or "", read_certificate(der or b"")


def main() -> None:
    signal.alarm(GIVE_UP_SECONDS)
    report_fd = inherited_fds(os.environ)["report"]
    outcome = probe(msgspec.json.decode(sys.argv[1], type=Wish))
    try:
        os.write(report_fd, msgspec.json.encode(outcome) + b"\n")
    except BrokenPipeError:
        pass  # the supervisor is gone, or another by now


if __name__ == "__main__":
    main()
