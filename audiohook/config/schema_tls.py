"""The section about TLS where the daemon ends it itself. Part of the schema (`schema.py`)."""

from typing import Annotated, Literal

import msgspec

from audiohook.config.meta import meta

_HOUR_S = 3600


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[tls]: TLS on all of server.listen. Off where no certificate is named."""

    certificate_file: Annotated[
        str,
        meta(
            "none",
            "PEM file with the certificate and, behind it, the intermediate ones; read again whenever it changes, and "
            "empty means that no TLS is spoken here.",
        ),
    ] = ""
    key_file: Annotated[
        str,
        meta(
            "none",
            "PEM file with the certificate's private key, mode 600 and without a passphrase, read again whenever it "
            "changes; may be the same file.",
        ),
    ] = ""
    minimum_version: Annotated[
        Literal["1.2", "1.3"],
        meta("none", "Oldest version of TLS; of 1.2 only suites with ECDHE and AEAD are offered."),
    ] = "1.2"
    client_ca_file: Annotated[
        str,
        meta(
            "none",
            "PEM file with the authorities of client certificates, read again whenever it changes; a client that shows "
            "another certificate is refused, and empty means that none are asked for.",
        ),
    ] = ""
    require_client_certificate: Annotated[
        bool,
        meta("none", "Whether a client without a certificate of client_ca_file is refused."),
    ] = False
    handshake_seconds: Annotated[
        float,
        meta(
            "seconds",
            "Deadline for the complete handshake, counted from when the connection is accepted, whatever the peer "
            "sends meanwhile.",
            0.1,
            600,
        ),
    ] = 5.0
    probe_seconds: Annotated[
        float,
        meta(
            "seconds",
            "How often a real handshake is made to see whether TLS works, the certificate is trusted, and how long it "
            "lasts; 0 makes none.",
            0,
            24 * _HOUR_S,
        ),
    ] = 60.0
    probe_url: Annotated[
        str,
        meta(
            "none",
            "Where to make it, such as wss://audio.example.com/ where a proxy ends TLS: then the name is checked too; "
            "empty means the first of server.listen, if TLS is spoken there.",
        ),
    ] = ""
    probe_ca_file: Annotated[
        str,
        meta("none", "PEM file with the authorities that are trusted in it; empty means those of the system."),
    ] = ""
    warn_days: Annotated[
        int,
        meta("days", "A certificate that ends within so many days is said to expire soon, once a day.", 0, 365),
    ] = 21
