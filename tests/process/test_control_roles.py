"""Who may do what on the hub, decided by the uid and groups that the kernel tells. Needs root, for real users."""

import os

import pytest

from tests.process.controlling import Asking, PlaceCalls, StartDaemon, obedient, result, stream_id
from tests.support.daemon import Daemon
from tests.support.peer import Peer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

READER, SPEAKER, OPERATOR, NOBODY = 20_001, 20_002, 20_003, 20_004
OPERATORS_GROUP = 20_070
ENTITY = {"type": "transcript", "data": {}}

ALLOWED = "allowed"


def with_roles(start: StartDaemon) -> Daemon:
    return obedient(
        start,
        f'hub.read=["user:{READER}"]',
        f'hub.speak=["user:{SPEAKER}"]',
        f'hub.operate=["user:{OPERATOR}", "group:{OPERATORS_GROUP}"]',
    )


def tried(client: Asking, daemon: Daemon, peer: Peer) -> dict[str, str]:
    """Try a verb of each role; return what came of it."""
    stream = stream_id(daemon, peer)
    answers = {
        "read": client.ask("unwatch", slot=0, epoch=1),
        "speak": client.ask("event", stream=stream, entity=ENTITY),
        "operate": client.ask("hold", call=peer.call_id),
    }
    return {role: ALLOWED if answer.get("ok") else str(answer.get("error")) for role, answer in answers.items()}


@pytest.mark.parametrize(
    ("identity", "roles"),
    [
        ((READER,), {"read"}),
        ((SPEAKER,), {"speak"}),
        ((OPERATOR,), {"operate"}),
        ((NOBODY, OPERATORS_GROUP), {"operate"}),
        ((), {"read", "speak", "operate"}),
    ],
    ids=["reader", "speaker", "operator", "operator by group", "root"],
)
def test_each_role_allows_its_own_and_refuses_the_rest_in_words(
    start_daemon: StartDaemon, place_calls: PlaceCalls, identity: tuple[int, ...], roles: set[str]
) -> None:
    daemon = with_roles(start_daemon)
    (peer,) = place_calls(daemon, 1)
    with Asking(daemon, *identity) as client:
        came = tried(client, daemon, peer)
        assert {role for role, what in came.items() if what == ALLOWED} == roles
        for role in {"read", "speak", "operate"} - roles:
            assert came[role].startswith(f"uid {identity[0]} may not ")
            assert came[role].endswith(f"the daemon's hub.{role} names who may")
        if identity and roles:
            assert len(daemon.logged(rf"refused uid={identity[0]} pid={client.pid} role=")) == 1, "a line a minute"
    assert daemon.counter("commands_done") == len(roles & {"speak", "operate"})


def test_who_has_no_role_is_told_so_and_let_go_and_takes_nobodys_place(
    start_daemon: StartDaemon, place_calls: PlaceCalls
) -> None:
    daemon = obedient(start_daemon, "hub.max_clients=2")
    (peer,) = place_calls(daemon, 1)
    with Asking(daemon, NOBODY) as stranger:
        assert stranger.ask("hold", call=peer.call_id)["slug"] == "role_missing"
        assert "unavailable" in stranger.ask("hold", call=peer.call_id), "it was let go"
        assert stranger.ask("hold", call=peer.call_id)["slug"] == "role_missing", "on a new connection"
        with Asking(daemon) as one, Asking(daemon) as two:
            for client in (one, two):
                assert client.ask("hold", call=peer.call_id)["ok"] is True
    assert daemon.counter("commands_done") == 2


def test_without_configuration_only_root_and_the_daemons_user_may(
    start_daemon: StartDaemon, place_calls: PlaceCalls
) -> None:
    daemon = obedient(start_daemon)
    (peer,) = place_calls(daemon, 1)
    with Asking(daemon, NOBODY) as stranger, Asking(daemon) as root:
        assert stranger.ask("hold", call=peer.call_id)["slug"] == "role_missing"
        assert result(root.ask("hold", call=peer.call_id))["status"] == "ok"
