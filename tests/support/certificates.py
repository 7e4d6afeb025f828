"""Certificates for tests, made by the `openssl` command: an authority, and pairs of a certificate and its key.

Everything is for localhost and 127.0.0.1. Keys are on P-256 unless said otherwise, since those are made in no time.
"""

import itertools
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

FOREVER = "20990101000000Z"
LONG_AGO = "20200101000000Z"

_CONFIG = """
[ca]
default_ca = authority
[authority]
database = {folder}/index
new_certs_dir = {folder}
policy = policy
default_md = sha256
rand_serial = yes
unique_subject = no
copy_extensions = copy
[policy]
commonName = supplied
[req]
distinguished_name = name
[name]
[issuer]
basicConstraints = critical, CA:true
keyUsage = keyCertSign
"""


@dataclass(frozen=True)
class Pair:
    """Files of a certificate and its key."""

    certificate: Path
    key: Path

    @property
    def settings(self) -> list[str]:
        """What a daemon's `--set` needs."""
        return [f"tls.certificate_file={self.certificate}", f"tls.key_file={self.key}"]

    def copy_to(self, other: "Pair") -> None:
        """Put this pair in the place of another, each file at once, as renewals do."""
        for source, target in ((self.certificate, other.certificate), (self.key, other.key)):
            beside = target.with_suffix(".new")
            shutil.copy(source, beside)
            beside.replace(target)

    @property
    def der(self) -> bytes:
        """What a client is shown first."""
        return ssl.PEM_cert_to_DER_cert(self.certificate.read_text().partition("-----END")[0] + END)


END = "-----END CERTIFICATE-----\n"


class Authority:
    """An authority of our own; `intermediate` signs with a certificate that it has signed itself."""

    def __init__(self, folder: Path, *, under: "Authority | None" = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._numbers = itertools.count(1)
        (folder / "index").touch()
        (folder / "openssl.cnf").write_text(_CONFIG.format(folder=folder))
        self._signer: Pair = self._sign("authority", under, ["-extensions", "issuer"], LONG_AGO, FOREVER, "ec")
        self.certificate = self._signer.certificate

    def pair(self, *, from_time: str = LONG_AGO, until_time: str = FOREVER, kind: str = "ec") -> Pair:
        """Return a new pair. Times as ASN.1 has them, `kind` "ec" or "rsa"."""
        return self._sign("localhost", self, [], from_time, until_time, kind)

    def _sign(
        self, name: str, issuer: "Authority | None", options: list[str], from_time: str, until_time: str, kind: str
    ) -> Pair:
        stem = self.folder / f"{name}-{next(self._numbers)}"
        key, request, certificate = (stem.with_suffix(end) for end in (".key", ".csr", ".pem"))
        algorithm = ["rsa:2048"] if kind == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        config = str(self.folder / "openssl.cnf")
        names = [] if options else ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        _openssl(
            "req", "-config", config, "-newkey", *algorithm, "-nodes", "-subj", f"/CN={name} of {self.folder.name}",
            *names, "-keyout", str(key), "-out", str(request),
        )  # fmt: skip
        key.chmod(0o600)
        if issuer is None:
            by = ["-selfsign", "-keyfile", str(key)]
        else:
            by = ["-cert", str(issuer._signer.certificate), "-keyfile", str(issuer._signer.key)]
        _openssl(
            "ca", "-batch", "-config", config, *by, *options, "-notext", "-startdate", from_time,
            "-enddate", until_time, "-in", str(request), "-out", str(certificate),
        )  # fmt: skip
        return Pair(certificate, key)


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def trusting(authority: Authority) -> ssl.SSLContext:
    """Return a client's context that trusts one authority and checks names, as everybody's should."""
    return ssl.create_default_context(cafile=str(authority.certificate))
