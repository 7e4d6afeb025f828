"""Reading what a client sends: everything that JSON can do to a parser, and every tolerance."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.session import audiohook2_messages as wire
from audiohook.session.audiohook2_reading import (
    BAD_PARAMETERS,
    NOT_JSON,
    NOT_WELL_FORMED,
    Reading,
    read_entry,
    read_message,
)
from tests.support.audiohook2 import CONVERSATION, ORGANIZATION, PARTICIPANT, SESSION, open_parameters

DEEP = 100_000
HUGE = "9" * 10_000


def text(kind: Any = "ping", parameters: Any = None, **changed: Any) -> str:
    """Return a message; a change to None takes the field away."""
    fields = {
        "version": "2",
        "type": kind,
        "id": SESSION,
        "seq": 1,
        "serverseq": 0,
        "position": "PT1.5S",
        "parameters": {} if parameters is None else parameters,
        **changed,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None})


def with_raw(name: str, raw: str) -> str:
    """Return a ping in which the value of `name` is the text `raw`, JSON or not."""
    fields = {"version": '"2"', "type": '"ping"', "id": f'"{SESSION}"', "seq": "1", "serverseq": "0", name: raw}
    return "{" + ",".join(f'"{key}":{value}' for key, value in fields.items()) + "}"


def parameters_of(reading: Reading) -> Any:
    assert reading.message is not None, reading
    return reading.message.parameters  # type: ignore[attr-defined]


# What is no message


@pytest.mark.parametrize(
    "broken",
    [
        *("", " ", "{", "}", "{}{}", "hello", "{'a':1}", '{"a":1,}', '{"a":01}', '{"a":1.e}', '{"a":"\\x"}'),
        *('{"a":"\x01"}', '{"a":NaN}', '{"a":Infinity}', '{"a":-Infinity}', '{"a":nan}', "\ufeff{}", '{"a":tru}'),
        *('{"a":"\\ud800"}', '{"\\ud800":1}', '{"a":"\\ud800\\u0041"}', '{"a":"\ud800"}'),
        '{"a":' * DEEP,
        '{"a":' * DEEP + "1" + "}" * DEEP,
        '{"parameters":' + "[" * DEEP + "]" * DEEP + "}",
        '{"version":"2","type":"ping","x":' + '{"a":[' * DEEP + "]}" * DEEP + "}",
    ],
    ids=lambda broken: broken[:20].encode("ascii", "backslashreplace").decode(),
)
def test_what_is_not_json(broken: str) -> None:
    assert read_message(broken) == Reading(fault=NOT_JSON)


@pytest.mark.parametrize(
    "other",
    ["[]", "[" * DEEP, "null", "1", '"text"', "true", HUGE, "{}", '{"version":"2"}'],
    ids=lambda other: other[:20],
)
def test_json_that_is_no_message(other: str) -> None:
    assert read_message(other) == Reading(fault=NOT_WELL_FORMED)


@pytest.mark.parametrize(
    "changed",
    [
        *({"version": value} for value in (None, 2, "1", "3", "02", "2 ")),
        *({"id": value} for value in (None, 1, [SESSION])),
        *({"seq": value} for value in (None, 0, -1, 1.0, "1", True, 2**53 + 1, 2**64, [1], 1e300)),
        *({"serverseq": value} for value in (None, -1, 0.5, "0", False, 2**64)),
        *({"kind": value} for value in (None, 1, ["ping"])),
    ],
    ids=str,
)
def test_an_envelope_that_is_wrong(changed: dict[str, Any]) -> None:
    if "kind" in changed:
        changed = {"type": changed["kind"]}
    assert read_message(text(**changed)) == Reading(fault=NOT_WELL_FORMED)


@pytest.mark.parametrize("number", [HUGE, f"-{HUGE}", f"0.{HUGE}", f"1e{HUGE}", f"{HUGE}.{HUGE}"], ids=lambda n: n[:6])
@pytest.mark.parametrize("name", ["seq", "serverseq", "version", "id", "type"])
def test_numbers_of_ten_thousand_digits_in_the_envelope(name: str, number: str) -> None:
    assert read_message(with_raw(name, number)) == Reading(fault=NOT_WELL_FORMED)


@pytest.mark.parametrize("number", [HUGE, f"0.{HUGE}", f"1e{HUGE}"], ids=lambda n: n[:6])
def test_numbers_of_ten_thousand_digits_where_nobody_looks(number: str) -> None:
    reading = read_message(with_raw("news", number))
    assert (reading.fault, reading.unknown_fields) == ("", 1)
    reading = read_message(with_raw("position", number))
    assert (reading.fault, reading.ignored_fields) == ("", 1)
    reading = read_message(with_raw("parameters", f'{{"rtt":{number}}}'))
    assert (reading.fault, reading.ignored_fields) == ("", 1)


def test_of_equal_keys_the_last_counts() -> None:
    reading = read_message(with_raw('seq":1,"seq', "7"))
    assert reading.envelope is not None
    assert reading.envelope.seq == 7
    assert read_message(text("dtmf")[:-1] + ',"type":"ping"}').message == read_message(text()).message


def test_a_huge_string_is_only_long() -> None:
    reading = read_message(text(parameters={"rtt": "x" * 60_000}, id="y" * 60_000))
    assert (reading.fault, reading.ignored_fields) == ("", 1)


@given(
    st.text(max_size=200) | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps)
)
def test_any_text_has_a_reading(anything: str) -> None:
    assert read_message(anything).fault in (NOT_JSON, NOT_WELL_FORMED)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    kind=st.sampled_from(sorted(wire.CLIENT_MESSAGES)),
    changes=st.dictionaries(
        st.sampled_from(["id", "seq", "serverseq", "position", "parameters", "version", "x"]), JSON
    ),
    parameters=st.dictionaries(
        st.sampled_from(["rtt", "start", "discarded", "media", "participant", "code", "reason", "digit", "language"]),
        JSON,
    ),
)
def test_any_values_have_a_reading(kind: str, changes: dict[str, Any], parameters: dict[str, Any]) -> None:
    reading = read_message(json.dumps({**json.loads(text(kind, parameters)), **changes}))
    assert reading.fault in ("", NOT_WELL_FORMED, BAD_PARAMETERS)
    assert reading.fault == BAD_PARAMETERS or (reading.message is None) == (reading.fault != "")
    assert reading.unknown_fields >= 0


# Tolerance


def test_unknown_fields_are_counted_wherever_they_are() -> None:
    parameters = open_parameters(news=1)
    parameters["participant"]["more"] = [1, 2]
    reading = read_message(text("open", parameters, extra={"deep": 1}, other=2))
    assert (reading.fault, reading.unknown_fields, reading.ignored_fields) == ("", 4, 0)


def test_an_unknown_type_is_no_fault() -> None:
    reading = read_message(text("reconnecting", {"a": 1}))
    assert reading.fault == ""
    assert reading.message is None
    assert reading.envelope is not None
    assert (reading.envelope.type, reading.envelope.seq) == ("reconnecting", 1)


@pytest.mark.parametrize("position", ["PT1M", "", 5, [], "PT1S\n", "PT-1S", "x" * 10_000])
def test_a_position_that_is_none_is_left_out(position: Any) -> None:
    reading = read_message(text(position=position))
    assert reading.message is not None
    assert (reading.message.position, reading.ignored_fields) == ("", 1)


def test_missing_parameters_are_empty_ones() -> None:
    reading = read_message(json.dumps({k: v for k, v in json.loads(text("paused")).items() if k != "parameters"}))
    assert (reading.fault, reading.unknown_fields) == ("", 0)
    assert reading.message == read_message(text("paused")).message


@pytest.mark.parametrize("parameters", [[], "x", 1, False])
@pytest.mark.parametrize("kind", sorted(wire.CLIENT_MESSAGES))
def test_parameters_that_are_no_object(kind: str, parameters: Any) -> None:
    assert read_message(text(kind, parameters)).fault == BAD_PARAMETERS


OPTIONAL = [
    *(("ping", "rtt", value) for value in (5, None, "PT1M", {})),
    *(("update", "language", value) for value in (5, None, "", "e", "en_US", "x" * 1000)),
    *(("error", "code", value) for value in ("400", None, 1.5, 2**70)),
    *(("error", "message", value) for value in (None, 5)),
    *(("error", "retryAfter", value) for value in (5, "soon")),
    *(("close", "reason", value) for value in (None, "bored", 5)),
    *(("dtmf", "digit", value) for value in (None, 5)),
    *(("open", "language", value) for value in (5, "")),
    *(("open", "supportedLanguages", value) for value in ("yes", 1, None)),
    *(("open", "continuedSessions", value) for value in ("x", {}, 5)),
]


@pytest.mark.parametrize(("kind", "name", "value"), OPTIONAL)
def test_an_optional_field_that_is_wrong_is_left_out(kind: str, name: str, value: Any) -> None:
    parameters = open_parameters() if kind == "open" else {}
    reading = read_message(text(kind, {**parameters, name: value}))
    assert (reading.fault, reading.ignored_fields, reading.unknown_fields) == ("", 1, 0)
    assert reading.message == read_message(text(kind, parameters)).message


@pytest.mark.parametrize("kind", ["close", "error", "dtmf", "update", "ping"])
def test_messages_that_need_no_parameters_do_without(kind: str) -> None:
    assert read_message(text(kind)).fault == ""


@pytest.mark.parametrize("name", ["organizationId", "conversationId", "participant", "media"])
def test_what_an_open_cannot_do_without(name: str) -> None:
    parameters = open_parameters()
    del parameters[name]
    assert read_message(text("open", parameters)).fault == BAD_PARAMETERS
    assert read_message(text("open", open_parameters(**{name: None}))).fault == BAD_PARAMETERS


@pytest.mark.parametrize("kind", ["resumed", "discarded"])
@pytest.mark.parametrize(
    "span",
    [{}, {"start": "PT1S"}, {"discarded": "PT1S"}, {"start": 1, "discarded": "PT1S"}, {"start": "", "discarded": ""}],
)
def test_what_a_span_cannot_do_without(kind: str, span: dict[str, Any]) -> None:
    assert read_message(text(kind, span)).fault == BAD_PARAMETERS


@pytest.mark.parametrize(
    "value",
    [
        "0190163d-8694-739b-aea5-966c26f8ad91",
        "090EAA2F-72FA-480A-83E0-8667FF89C0EC",
        "090eaa2f-72fa-f80a-03e0-8667ff89c0ec",
        wire.NIL_UUID,
    ],
    ids=["version 7", "capitals", "no variant", "nil"],
)
def test_any_uuid_is_one(value: str) -> None:
    reading = read_message(text("open", open_parameters(organizationId=value, conversationId=value)))
    assert parameters_of(reading).conversation_id == value


@pytest.mark.parametrize(
    "value", ["", "x", "090eaa2f72fa480a83e08667ff89c0ec", CONVERSATION + "\n", CONVERSATION + "0"]
)
def test_what_is_no_uuid(value: str) -> None:
    assert read_message(text("open", open_parameters(conversationId=value))).fault == BAD_PARAMETERS


@pytest.mark.parametrize("language", ["en", "en-US", "es-419", "zh-Hans-CN", "EN-us", "gsw-u-sd-chzh"])
def test_any_language_is_one(language: str) -> None:
    assert parameters_of(read_message(text("update", {"language": language}))).language == language


@pytest.mark.parametrize("config", [{"a": {"b": [1]}}, '{"a": 1}', None, [], 5, "not JSON at all"])
def test_custom_config_may_be_anything(config: Any) -> None:
    reading = read_message(text("open", open_parameters(customConfig=config, inputVariables=config)))
    assert (reading.fault, reading.ignored_fields, reading.unknown_fields) == ("", 0, 0)


def test_a_participant_may_be_terse() -> None:
    reading = read_message(text("open", open_parameters(participant={"id": PARTICIPANT})))
    assert parameters_of(reading).participant == wire.Participant(PARTICIPANT)


@pytest.mark.parametrize("entry", [b"1", b"{}", b'{"id":5}', b"[" * 50 + b"]" * 50])
def test_an_entry_of_a_list_that_is_wrong(entry: bytes) -> None:
    assert read_entry(wire.ContinuedSession, msgspec.Raw(entry)) is None


def test_an_entry_of_a_list_with_less_and_more_than_it_should_have() -> None:
    entry = msgspec.Raw(json.dumps({"id": ORGANIZATION, "serverseq": "x", "news": 1}).encode())
    assert read_entry(wire.ContinuedSession, entry) == wire.ContinuedSession(ORGANIZATION)
