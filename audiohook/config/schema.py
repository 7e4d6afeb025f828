"""The configuration's schema: every section, key, default, bound, unit and sentence, and nothing else.

It knows nothing of files, TOML or overrides (`loading.py`), nor of rules between keys (`rules.py`). The sentences are
the contract with the operator: `rendering.py` prints them into conf/audiohookd.toml. Every number has both bounds, so
that no value can overflow a conversion to nanoseconds or bytes, and NaN fails both
(tests/unit/test_config_schema.py).
"""

from typing import Annotated, Literal

import msgspec

from audiohook.config.meta import meta
from audiohook.config.schema_admission import Admission, Http
from audiohook.config.schema_peers import AudioHook2, Auth
from audiohook.config.schema_tls import Tls

WORKER_ROWS = 120
"""Rows of the worker table, generations included (memory.md, "Arena")."""

LARGEST_FIXED_PACKET_BYTES = 1275
"""Largest Opus frame (RFC 6716 section 3.2.1) and so the largest N of `fixed:N`."""

HUB_PATH_BYTES = 107
"""Longest path of a Unix socket: `sun_path` has 108 bytes, the last one is NUL (unix(7))."""

_DAY_S = 86_400
_HOUR_MS = 3_600_000
_HOUR_S = 3600


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[server]: where connections are accepted, by how many processes, and how these come and go."""

    listen: Annotated[
        list[str],
        msgspec.Meta(
            min_length=1,
            max_length=16,
            description='Addresses to accept connections on, each "host:port" or "[v6]:port" (port 0: the kernel '
            "chooses one); one beyond loopback is refused unless allow_anonymous is true.",
            extra={"unit": "none"},
        ),
    ] = msgspec.field(default_factory=lambda: ["127.0.0.1:8443"])
    workers: Annotated[
        int,
        meta(
            "processes",
            "Worker processes; 0 means one for each CPU of the affinity mask, and workers times (max_generations + 1) "
            f"may not exceed the {WORKER_ROWS} rows of the worker table, up to which scaling goes.",
            0,
            WORKER_ROWS,
        ),
    ] = 0
    backlog: Annotated[
        int,
        meta(
            "connections",
            "Connections that the kernel queues on each address until a worker accepts them; beyond it, or beyond "
            "net.core.somaxconn, which caps it, the kernel drops new ones and the peer has to try again.",
            1,
            65_535,
        ),
    ] = 4096
    tcp_user_timeout_seconds: Annotated[
        float,
        meta(
            "seconds",
            "How long a peer's TCP may acknowledge nothing, neither what was sent to it nor the probes of a silent "
            "connection; then the connection is lost (as audiohook2.idle_seconds has it for a session that is not "
            "paused), and 0 leaves that to the kernel, which takes hours.",
            0,
            _HOUR_S,
        ),
    ] = 30.0
    drain_seconds: Annotated[
        float,
        meta(
            "seconds",
            "How long calls may go on after SIGTERM; those that are still open then are closed with 1012, and 0 closes "
            "them at once.",
            0,
            _DAY_S,
        ),
    ] = 60.0
    orphan_seconds: Annotated[
        float,
        meta(
            "seconds",
            "How long a worker whose supervisor is gone keeps its calls; then it ends them and itself, and 0 ends them "
            "at once.",
            0,
            7 * _DAY_S,
        ),
    ] = 14_400.0
    boot_seconds: Annotated[
        float,
        meta(
            "seconds",
            "How long a new worker may take until it accepts; one that needs longer has failed to boot.",
            0.1,
            600,
        ),
    ] = 20.0
    overload_ms: Annotated[
        int,
        meta(
            "milliseconds",
            "How long a worker may take to serve everybody once; where that does not get shorter, the oldest audio is "
            "not decoded and its time kept as a gap, and from half of it on new calls are refused.",
            20,
            10_000,
        ),
    ] = 300
    hang_seconds: Annotated[
        float,
        meta(
            "seconds",
            "How long the loop of a worker, or of the desk, may stand still; then its stacks are logged, it is killed "
            "and replaced, so keep it longer than any debugger's or swap's pause.",
            0.5,
            _HOUR_S,
        ),
    ] = 10.0
    max_generations: Annotated[
        int,
        meta(
            "generations",
            "Generations that may keep their calls after reloads; of more than these, the oldest ends its calls.",
            1,
            WORKER_ROWS - 1,
        ),
    ] = 3
    generation_deadline_seconds: Annotated[
        float,
        meta("seconds", "How long a generation may keep its calls after a reload; then they are ended.", 0, 7 * _DAY_S),
    ] = 14_400.0
    allow_anonymous: Annotated[
        bool,
        meta(
            "none",
            "Whether addresses beyond loopback may be listened on without TLS (tls.certificate_file, or "
            "trusted_proxies that end it) or without auth.keys_file, server.allow or tls.require_client_certificate: "
            "true lets anybody who reaches the port place calls, and in the clear where there is no TLS.",
        ),
    ] = False
    allow: Annotated[
        list[str],
        msgspec.Meta(
            max_length=256,
            description='Networks that may place calls, such as "192.0.2.0/24"; others get 403, and empty means all.',
            extra={"unit": "none"},
        ),
    ] = []
    trusted_proxies: Annotated[
        list[str],
        msgspec.Meta(
            max_length=256,
            description="Networks of proxies, which end TLS unless [tls] does, and whose X-Forwarded-For and PROXY "
            "headers are believed.",
            extra={"unit": "none"},
        ),
    ] = []
    proxy_protocol: Annotated[
        bool,
        meta(
            "none",
            "Whether connections from trusted_proxies begin with a PROXY protocol v2 header, before TLS; one that does "
            "not is dropped.",
        ),
    ] = False


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[memory]: the shared memory, allocated as a whole when the daemon starts."""

    streams: Annotated[
        int,
        meta(
            "streams",
            "Streams that have room at once; all their memory is allocated at the start, which fails if there is too "
            "little, and one stream more is refused with 503.",
            1,
            # Two mappings a slot, and the kernel allows a process 65,530 (vm.max_map_count).
            16_384,
        ),
    ] = 256
    ring_seconds: Annotated[
        float,
        meta(
            "seconds",
            "How much of a stream's newest audio stays readable; a reader that falls further behind is told how many "
            "frames it lost.",
            1,
            3600,
        ),
    ] = 30.0
    keep_ended_seconds: Annotated[
        float,
        meta(
            "seconds",
            "How long an ended stream stays readable, unless a new one needs its place; then its samples are zeroed, "
            "and 0 zeroes them at once.",
            0,
            _DAY_S,
        ),
    ] = 60.0
    events_per_worker: Annotated[
        int,
        meta(
            "events",
            "Lifecycle events that each worker's event ring holds; the oldest is overwritten by the next, and a "
            "reader that was lapped is told how many it lost.",
            16,
            1_048_576,
        ),
    ] = 1024


class ContextPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of context.paths. None means: as [context] says."""

    sample_rate: Annotated[
        Literal[8000, 16000] | None,
        meta("Hz", "Rate that packets are decoded to on this path; left out, the one of [context]."),
    ] = None
    framing: Annotated[
        str | None,
        meta("none", "Framing policy on this path; left out, the one of [context]."),
    ] = None


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[context]: the dialect with x-genesys-* headers and Opus."""

    sample_rate: Annotated[
        Literal[8000, 16000],
        meta("Hz", "Rate that packets are decoded to; any Opus packet can be decoded to either."),
    ] = 16_000
    framing: Annotated[
        str,
        meta(
            "none",
            'How messages become packets: "message" takes each message as one packet, "fixed:N" cuts their bytes into '
            f"packets of N (1 to {LARGEST_FIXED_PACKET_BYTES}; the event looks_recut names the one that a stream "
            'needs), "self_delimited" where the packets say that they end (RFC 6716 appendix B), both whatever the '
            "messages' bounds, and what is left at the close is concealed.",
        ),
    ] = "message"
    max_message_bytes: Annotated[
        int,
        meta(
            "bytes",
            "Largest WebSocket message; a larger one is answered with close code 1009 before it is buffered.",
            LARGEST_FIXED_PACKET_BYTES + 1,
            16_777_216,
        ),
    ] = 1_048_576
    heartbeat_ms: Annotated[
        int,
        meta(
            "milliseconds",
            "Time between WebSocket pings; a peer from which nothing has come when the next one is due is dead, and "
            "its connection is reset.",
            10,
            _HOUR_MS,
        ),
    ] = 4000
    degraded_ms: Annotated[
        int,
        meta(
            "milliseconds",
            "Time without a packet, after a first one, until the stream is DEGRADED; the connection stays.",
            10,
            _HOUR_MS,
        ),
    ] = 5000
    first_audio_ms: Annotated[
        int,
        meta(
            "milliseconds",
            "Time for the first packet; without one by then the event no_audio is written, and the connection stays.",
            10,
            _HOUR_MS,
        ),
    ] = 10_000
    reconnect_seconds: Annotated[
        float,
        meta(
            "seconds",
            "How long a stream whose connection ended abnormally is kept for its peer's return; 0 ends it at once.",
            0,
            _HOUR_S,
        ),
    ] = 15.0
    hold_ttl_seconds: Annotated[
        float,
        meta(
            "seconds",
            "How long a stream whose peer left for a hold is kept, unless the call's end is told before; 0 ends it at "
            "once.",
            0,
            24 * _HOUR_S,
        ),
    ] = 3600.0
    paths: Annotated[
        dict[str, ContextPath],
        meta(
            "none",
            "Sample rate and framing by URL path, each key a whole path that starts with a slash; a path without an "
            "entry has the values above.",
        ),
    ] = {}

    def at(self, url_path: str) -> tuple[int, str]:
        """Return (sample rate in Hz, framing) for a request's path, compared as a whole and without its query."""
        entry = self.paths.get(url_path, ContextPath())
        return entry.sample_rate or self.sample_rate, entry.framing or self.framing


class Hub(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[hub]: the Unix socket at which readers get the memory and commands are taken, each by a role of its own."""

    path: Annotated[
        str,
        meta(
            "none",
            "The hub's socket; empty means $RUNTIME_DIRECTORY/hub.sock, else $XDG_RUNTIME_DIR/audiohook/hub.sock, else "
            f"var/run/hub.sock, and more than {HUB_PATH_BYTES} bytes are refused.",
        ),
    ] = ""
    read: Annotated[
        list[str],
        meta(
            "none",
            'Who may attach as a reader beside the daemon\'s own user and root: "user:NAME", "user:UID", "group:NAME", '
            '"group:GID" or "any"; anybody else is refused.',
        ),
    ] = []
    speak: Annotated[
        list[str],
        meta(
            "none",
            "Who may send events (transcripts, agent assist) back to the platform, written like read; a role of its "
            "own, beside the daemon's own user and root.",
        ),
    ] = []
    operate: Annotated[
        list[str],
        meta(
            "none",
            "Who may command calls (pause, resume, disconnect, mask, hold, end) and scale the service, written like "
            "read; a role of its own, beside the daemon's own user and root.",
        ),
    ] = []
    max_clients: Annotated[
        int,
        meta("clients", "Clients that may be connected to the hub at once; one more is refused.", 1, 8192),
    ] = 256
    max_watched: Annotated[
        int,
        meta(
            "streams",
            "Streams that may be watched, that is, wake their own readers, at once; one more is refused, and its "
            "readers wait for the worker's doorbell.",
            0,
            16_384,
        ),
    ] = 64


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[log]: what is written to standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        meta("none", "Least severe line that is written; what is below it is dropped."),
    ] = "info"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration. Without arguments it is the embedded defaults."""

    server: Server = msgspec.field(default_factory=Server)
    tls: Tls = msgspec.field(default_factory=Tls)
    memory: Memory = msgspec.field(default_factory=Memory)
    http: Http = msgspec.field(default_factory=Http)
    admission: Admission = msgspec.field(default_factory=Admission)
    context: Context = msgspec.field(default_factory=Context)
    audiohook2: AudioHook2 = msgspec.field(default_factory=AudioHook2)
    auth: Auth = msgspec.field(default_factory=Auth)
    hub: Hub = msgspec.field(default_factory=Hub)
    log: Log = msgspec.field(default_factory=Log)
