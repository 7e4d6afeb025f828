"""What the client says of itself in the upgrade request, read back by the wire's own server half."""

from audiohook.session.context_client import upgrade_headers
from audiohook.wire.client import upgrade_request
from audiohook.wire.request import Request, RequestReader

CALL_ID = "0e4a1b6e-5a0b-4e0a-9a53-1f1f8f1d6c11"


def request(direction: str) -> Request:
    headers = upgrade_headers(call_id=CALL_ID, session_id="s", user_id="u", participant_id="p", direction=direction)
    data = upgrade_request("/a?b=c", "host:1", headers, "dGhlIHNhbXBsZSBub25jZQ==")
    read = RequestReader(max_request_bytes=16384, max_headers=64).receive_data(data)
    assert isinstance(read, Request)
    return read


def test_every_header_of_the_dialect_is_sent() -> None:
    read = request("inbound")
    assert read.target == "/a?b=c"
    names = ("call-id", "session-id", "user-id", "participant-id", "direction")
    assert [read.get(f"x-genesys-{name}") for name in names] == [CALL_ID, "s", "u", "p", "inbound"]


def test_an_unknown_direction_is_said_by_no_header() -> None:
    assert request("unknown").count("x-genesys-direction") == 0
