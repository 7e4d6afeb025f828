"""Watches the certificate: tells of one that was exchanged, that cannot be used, that expires soon, that does not work.

Every `tls.probe_seconds` a child makes a real handshake (`net/tls_probe.py`). A child, because a handshake may hang and
the supervisor must not; exec'ed, so that it holds nothing of ours; short-lived, because sixty milliseconds of CPU a
minute are cheaper to understand than another process to supervise. It is none of the policy's children: the arbiter
reaps it as it does other people's orphans, it ends itself in time, and it is signalled through a pidfd, which cannot
name anybody else.

What is found is logged and told when it changes. All of it as it stands is the event `tls_status`, written with each
change and once an hour, so that the event ring still has one when somebody asks (`audiohookctl status`).
"""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence

import msgspec

from audiohook.auth.addresses import AddressList
from audiohook.config import Config
from audiohook.config.rules import probe_address
from audiohook.memory.row import Row
from audiohook.net.certificate import Certificate
from audiohook.net.hygiene import exec_child
from audiohook.net.tls_pair import TlsPair
from audiohook.net.tls_probe import Outcome, Wish
from audiohook.units import NEVER_NS, NS_PER_MS, NS_PER_S, seconds_ns

log = logging.getLogger("audiohook")

LOOK_EVERY_NS = 250 * NS_PER_MS
FIRST_PROBE_NS = NS_PER_S
"""After the first look: by then workers accept, or the connection waits for them. And after a change of the files: by
then each worker has taken notice of it (`worker/transport.py`)."""

STATUS_EVERY_NS = 3600 * NS_PER_S
DAY_LOOK_NS = 60 * NS_PER_S

_READ_BYTES = 4096
_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}

Tell = Callable[..., None]


class CertificateWatch:
    """The supervisor's, if TLS is spoken here or there is a `tls.probe_url`. All methods return at once."""

    def __init__(self, config: Config, pair: TlsPair | None, wish: Wish, row: Row, tell: Tell) -> None:
        """`pair` None: a proxy ends TLS. `tell(kind, **fields)` writes an event; `row` is the supervisor's."""
        self._pair = pair
        self._wish = wish
        self._own = not config.tls.probe_url
        self._row = row
        self._tell = tell
        self._probe_ns = seconds_ns(config.tls.probe_seconds)
        self._warn_days = config.tls.warn_days
        self._running: _Running | None = None
        self._outcome: Outcome | None = None
        self._told_day: tuple[str, int] | None = None
        self._looked_ns = 0
        self._day_ns = 0
        self._status_ns = 0
        self._due_ns = 0
        self._stopped = False
        if pair is not None and pair.certificate.days_left(time.time()) >= self._warn_days:
            log.info("TLS: %s", self._in_words(pair.certificate))

    @property
    def certificate(self) -> Certificate | None:
        """What was seen last, else what is in force here."""
        if self._outcome is not None and self._outcome.certificate is not None:
            return self._outcome.certificate
        return None if self._pair is None else self._pair.certificate

    def look(self, now_ns: int) -> None:
        """Do what is due. Called about every 100 ms."""
        if now_ns - self._looked_ns >= LOOK_EVERY_NS:
            self._looked_ns = now_ns
            if self._pair is not None and self._pair.refresh():
                self._announce(self._pair, now_ns)
        if self._running is not None:
            self._take_outcome(self._running, now_ns)
        if not self._due_ns:
            self._due_ns = now_ns + FIRST_PROBE_NS if self._probe_ns else NEVER_NS
        if now_ns >= self._due_ns and self._running is None and not self._stopped:
            self._due_ns = now_ns + self._probe_ns
            self._start(now_ns)
        if now_ns - self._day_ns >= DAY_LOOK_NS:
            self._day_ns = now_ns
            self._warn()
        if now_ns - self._status_ns >= STATUS_EVERY_NS:
            self._write_status(now_ns)

    def stop(self) -> None:
        """The service ends: make no more handshakes."""
        self._stopped = True
        self._end_probe()

    def let_go(self) -> None:
        """In a forked child: close what is the supervisor's."""
        if self._running is not None:
            self._running.close()

    # ---------------------------------------------------------------------------------------- the files

    def _announce(self, pair: TlsPair, now_ns: int) -> None:
        if pair.error is not None:
            log.error("certificate and key cannot be used, the old ones stay in force: %s", pair.error)
            self._tell("tls_reload_failed", text=str(pair.error))
        else:
            log.info("certificate and key were read again: %s", self._in_words(pair.certificate))
            facts = _facts(pair.certificate)
            self._tell("tls_reloaded", days_left=pair.certificate.days_left(time.time()), **facts)
            self._end_probe()  # it may be shown either, and what it said was about the other one
            self._outcome = None
            self._due_ns = min(self._due_ns, now_ns + FIRST_PROBE_NS)
            self._warn()
        self._write_status(now_ns)

    def _warn(self) -> None:
        certificate, now_s = self.certificate, time.time()
        if certificate is None:
            return
        days = certificate.days_left(now_s)
        if days >= self._warn_days or self._told_day == (certificate.fingerprint, days):
            return
        self._told_day = (certificate.fingerprint, days)
        level = logging.WARNING if certificate.valid_at(now_s) else logging.ERROR
        log.log(level, "TLS: %s", self._in_words(certificate))
        self._tell("tls_expires_soon", days_left=days, **_facts(certificate))

    def _in_words(self, certificate: Certificate) -> str:
        how = certificate.lifetime_in_words(time.time())
        return f"the certificate of {certificate.name} {how} serial={certificate.serial}"

    # ---------------------------------------------------------------------------------------- the handshake

    def _end_probe(self) -> None:
        if self._running is not None:
            self._running.end()
            self._running = None

    def _start(self, now_ns: int) -> None:
        wish = self._wish
        if not wish.name and self._pair is not None:
            name = next((name for name in self._pair.certificate.names if not name.startswith("*")), "")
            wish = msgspec.structs.replace(wish, name=name)
        try:
            self._running = _Running(wish)
        except OSError as error:
            self._judge(Outcome(False, f"no process could be started for it: {error.strerror}"), now_ns)

    def _take_outcome(self, running: "_Running", now_ns: int) -> None:
        outcome = running.outcome()
        if outcome is not None:
            running.close()
            self._running = None
            self._judge(outcome, now_ns)

    def _judge(self, outcome: Outcome, now_ns: int) -> None:
        shown, pair = outcome.certificate, self._pair
        if outcome.ok and self._own and pair is not None and shown != pair.certificate:
            outcome = Outcome(False, "a worker shows another certificate than the one in force", shown)
        self._row.count("tls_probes")
        if not outcome.ok:
            self._row.count("tls_probe_failed")
        before, self._outcome = self._outcome, outcome
        if before is None or (before.ok, before.words) != (outcome.ok, outcome.words):
            where = f"{self._wish.host}:{self._wish.port}"
            if outcome.ok:
                log.info("TLS handshake with %s is well: %s", where, outcome.words)
                self._tell("tls_probe_ok", where=where, text=outcome.words)
            else:
                log.error("TLS handshake with %s: %s", where, outcome.words)
                self._tell("tls_probe_failed", where=where, text=outcome.words)
            self._write_status(now_ns)
        self._warn()

    def _write_status(self, now_ns: int) -> None:
        self._status_ns = now_ns
        certificate, outcome = self.certificate, self._outcome
        self._tell(
            "tls_status",
            **({} if certificate is None else _facts(certificate)),
            where=f"{self._wish.host}:{self._wish.port}",
            probe_ok=None if outcome is None else outcome.ok,
            probe=None if outcome is None else outcome.words,
            error=None if self._pair is None or self._pair.error is None else str(self._pair.error),
        )


def certificate_watch(
    config: Config, pair: TlsPair | None, listeners: Sequence[socket.socket], row: Row, tell: Tell
) -> CertificateWatch | None:
    """Return the watch that this configuration needs, None if there is no TLS that could be watched."""
    if pair is None and not config.tls.probe_url:
        return None
    if config.tls.probe_url:
        host, port = probe_address(config.tls.probe_url)
        wish = Wish(host, port, host, check_name=True, proxy_header=False, ca_file=config.tls.probe_ca_file)
    else:
        host, port = listeners[0].getsockname()[:2]
        host = _ANY_HOST.get(host, host)
        trusted = config.server.proxy_protocol and host in AddressList(config.server.trusted_proxies)
        wish = Wish(host, port, "", check_name=False, proxy_header=trusted, ca_file=config.tls.probe_ca_file)
    return CertificateWatch(config, pair, wish, row, tell)


def _facts(certificate: Certificate) -> dict[str, str | int]:
    return {
        "name": certificate.name,
        "serial": certificate.serial,
        "fingerprint": certificate.fingerprint,
        "not_before_s": certificate.not_before_s,
        "not_after_s": certificate.not_after_s,
    }


class _Running:
    """A child that makes a handshake."""

    def __init__(self, wish: Wish) -> None:
        """Start it. Raises OSError."""
        self._said = b""
        self._report_fd, theirs = os.pipe()
        try:
            os.set_blocking(self._report_fd, False)
            # -P: the working directory is no place to import from.
            argv = (sys.executable, "-P", "-m", "audiohook.net.tls_probe", msgspec.json.encode(wish).decode())
            self._pid_fd = os.pidfd_open(exec_child(argv, {"report": theirs}))
        except BaseException:
            os.close(self._report_fd)
            raise
        finally:
            os.close(theirs)

    def outcome(self) -> Outcome | None:
        """Return what it has found, None while it has not."""
        try:
            data = os.read(self._report_fd, _READ_BYTES)
        except BlockingIOError:
            return None
        self._said += data
        if data:
            return None
        try:
            return msgspec.json.decode(self._said, type=Outcome)
        except msgspec.DecodeError:
            # Not a word, or a traceback's last line (`net/seat.py`).
            said = self._said[1:].decode(errors="replace").strip()
            return Outcome(False, f"the handshake was not over in time{': ' + said if said else ''}")

    def end(self) -> None:
        try:
            signal.pidfd_send_signal(self._pid_fd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.close()

    def close(self) -> None:
        os.close(self._report_fd)
        os.close(self._pid_fd)
