"""auth/addresses.py: lists of networks, and the caller behind trusted proxies."""

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiohook.auth.addresses import MAX_HOPS, AddressList, caller_address, normal_address

TRUSTED = AddressList(["10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("entries", "address", "listed"),
    [
        (["192.0.2.0/24"], "192.0.2.255", True),
        (["192.0.2.0/24"], "192.0.3.0", False),
        (["192.0.2.7"], "192.0.2.7", True),
        (["192.0.2.7"], "::ffff:192.0.2.7", True),
        (["192.0.2.7"], "::ffff:c000:207", True),
        (["::ffff:192.0.2.0/120"], "192.0.2.9", True),
        (["::ffff:0:0/96"], "8.8.8.8", True),
        (["::/0"], "::1", True),
        (["::/0"], "127.0.0.1", False),
        (["::/0"], "::ffff:127.0.0.1", False),
        (["0.0.0.0/0"], "::1", False),
        (["2001:db8::/32"], "2001:DB8::1", True),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["198.51.100.0/24", "192.0.2.0/24"], "192.0.2.1", True),
        ([], "127.0.0.1", False),
        (["0.0.0.0/0", "::/0"], "example.com", False),
        (["0.0.0.0/0", "::/0"], "", False),
        (["0.0.0.0/0", "::/0"], "127.1", False),
        (["0.0.0.0/0", "::/0"], "010.0.0.1", False),
    ],
)
def test_lists(entries: list[str], address: str, listed: bool) -> None:
    assert (address in AddressList(entries)) is listed


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "10.0.0.0/33", "10.0.0", "example.com", "", "2001:db8::1/32", "10/8"])
def test_what_is_no_network(entry: str) -> None:
    with pytest.raises(ValueError):
        AddressList([entry])


def test_length() -> None:
    assert len(AddressList([])) == 0
    assert len(TRUSTED) == 2


@pytest.mark.parametrize(
    ("connected", "forwarded", "caller"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("::ffff:192.0.2.1", None, "192.0.2.1"),
        # A stranger's header counts for nothing.
        ("192.0.2.1", "10.0.0.1", "192.0.2.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("::ffff:10.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.1, 10.0.0.2 ,10.0.0.3", "192.0.2.1"),
        # What stands to the left of the first stranger was written by the stranger.
        ("10.0.0.1", "127.0.0.1, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "garbage, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("10.0.0.1", "10.0.0.9, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "fd00::9, 10.0.0.2", "fd00::9"),
        ("10.0.0.1", "192.0.2.1, garbage, 10.0.0.2", None),
        ("10.0.0.1", "unknown", None),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "192.0.2.1,,", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.1:5060", "192.0.2.1"),
        ("10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
        ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ("10.0.0.1", "2001:db8::1%\x1b[31m", "2001:db8::1"),
        ("10.0.0.1", "192.0.2.1:x", None),
        ("10.0.0.1", "[]", None),
        ("unix", "192.0.2.1", None),
    ],
)
def test_caller(connected: str, forwarded: str | None, caller: str | None) -> None:
    assert caller_address(connected, forwarded, TRUSTED) == caller


def test_the_number_of_hops_is_bounded() -> None:
    def hops(trusted: int) -> str:
        return ",".join(["192.0.2.1", *["10.0.0.2"] * trusted])

    assert caller_address("10.0.0.1", hops(MAX_HOPS - 1), TRUSTED) == "192.0.2.1"
    assert caller_address("10.0.0.1", hops(MAX_HOPS), TRUSTED) is None
    assert caller_address("10.0.0.1", ",".join(["10.0.0.2"] * MAX_HOPS), TRUSTED) == "10.0.0.2"


address_texts = st.ip_addresses().map(str) | st.text(max_size=30)


@given(address_texts, st.none() | st.lists(address_texts, max_size=40).map(",".join))
@example("10.0.0.1", "\n")
@example("10.0.0.1", "1" * 5000)
def test_any_texts(connected: str, forwarded: str | None) -> None:
    caller = caller_address(connected, forwarded, TRUSTED)
    assert caller is None or caller == str(ipaddress.ip_address(caller)) == normal_address(caller)
    if connected not in TRUSTED:
        assert caller == normal_address(connected)
