"""net/tls_pair.py: which certificate and key are taken, and how they are exchanged under handshakes."""

import os
import subprocess
from pathlib import Path

import pytest

from audiohook.config import Tls
from audiohook.errors import ConfigError
from audiohook.net.certificate import read_certificate
from audiohook.net.tls_pair import TlsPair
from tests.support.certificates import LONG_AGO, Authority, Pair
from tests.support.tls import TlsClient, TlsServer, anybody, shake_hands

YESTERYEAR = "20210101000000Z"


def loaded(place: Pair) -> TlsPair:
    return TlsPair(Tls(certificate_file=str(place.certificate), key_file=str(place.key)))


def served(pair: TlsPair) -> bytes:
    """Return the certificate that a client is shown."""
    client = TlsClient(anybody())
    shake_hands(client, TlsServer(pair))
    return client.tls.getpeercert(binary_form=True) or b""


def settled(pair: TlsPair) -> bool:
    """Look twice, as nothing is judged while it changes; return what the second look says."""
    assert not pair.refresh()
    return pair.refresh()


def test_a_pair_is_loaded_and_says_what_it_is(place: Pair, pairs: list[Pair]) -> None:
    pair = loaded(place)
    assert pair.certificate == read_certificate(pairs[0].der)
    assert pair.certificate.names == ("localhost", "127.0.0.1")
    assert served(pair) == pairs[0].der
    assert (pair.refresh(), pair.error) == (False, None)


def test_both_may_be_in_one_file(place: Pair, pairs: list[Pair]) -> None:
    place.key.write_bytes(pairs[0].certificate.read_bytes() + pairs[0].key.read_bytes())
    assert served(TlsPair(Tls(certificate_file=str(place.key), key_file=str(place.key)))) == pairs[0].der


def without_certificate(place: Pair) -> None:
    place.certificate.write_text("nothing")


def with_passphrase(place: Pair) -> None:
    command = ["openssl", "pkey", "-in", str(place.key), "-aes256", "-passout", "pass:secret"]
    place.key.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)


def cut(place: Pair) -> None:
    place.certificate.write_bytes(place.certificate.read_bytes()[:300])


def fifo(place: Pair) -> None:
    place.key.unlink()
    os.mkfifo(place.key, 0o600)


BROKEN = [
    (lambda place: place.certificate.unlink(), "the.pem", "tls.certificate_file cannot be read (No such file"),
    (lambda place: place.key.unlink(), "the.key", "tls.key_file cannot be read (No such file"),
    (lambda place: place.key.chmod(0o640), "the.key", "tls.key_file others than its owner have access (mode 0640)"),
    (fifo, "the.key", "tls.key_file not a regular file; name a PEM file with a private key"),
    (without_certificate, "the.pem", "tls.certificate_file has no certificate in it"),
    (lambda place: place.key.write_text("nothing"), "the.key", "tls.key_file has no private key in it"),
    (with_passphrase, "the.key", "tls.key_file has a passphrase, and nobody is there to enter it"),
    (cut, "the.key", "cannot be used together"),
]


@pytest.mark.parametrize(("breaking", "file", "words"), BROKEN)
def test_what_cannot_be_used_is_refused_in_words(breaking: object, file: str, words: str, place: Pair) -> None:
    assert callable(breaking)
    secret = place.key.read_text().splitlines()[1]
    breaking(place)
    with pytest.raises(ConfigError) as caught:
        loaded(place)
    assert caught.value.file.endswith(file)
    assert words in str(caught.value)
    assert secret not in str(caught.value)


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_the_key_of_another_certificate_is_refused(place: Pair, authority: Authority, kind: str) -> None:
    place.key.write_bytes(authority.pair(kind=kind).key.read_bytes())
    with pytest.raises(ConfigError, match="is not the key of the certificate in"):
        loaded(place)


def test_authorities_of_clients_that_are_none_are_refused(place: Pair, tmp_path: Path) -> None:
    settings = Tls(certificate_file=str(place.certificate), key_file=str(place.key), client_ca_file=str(place.key))
    with pytest.raises(ConfigError, match=r"tls\.client_ca_file cannot be used"):
        TlsPair(settings)


def test_another_pair_is_taken_when_it_stands_still(place: Pair, pairs: list[Pair]) -> None:
    pair = loaded(place)
    pairs[1].copy_to(place)
    assert not pair.refresh()
    assert served(pair) == pairs[0].der
    assert pair.refresh()
    assert (served(pair), pair.error) == (pairs[1].der, None)
    assert pair.certificate == read_certificate(pairs[1].der)
    assert not pair.refresh()


def test_a_pair_that_is_being_exchanged_is_not_judged(place: Pair, pairs: list[Pair]) -> None:
    """Certificate and key are two files, and cannot be exchanged at once."""
    pair = loaded(place)
    Pair(pairs[1].certificate, pairs[0].key).copy_to(place)
    assert not pair.refresh()
    pairs[1].copy_to(place)
    assert (settled(pair), pair.error, served(pair)) == (True, None, pairs[1].der)


def test_a_broken_pair_leaves_the_old_one_in_force_and_is_told_once(place: Pair, pairs: list[Pair]) -> None:
    pair = loaded(place)
    Pair(pairs[1].certificate, pairs[0].key).copy_to(place)
    assert settled(pair)
    assert "is not the key" in str(pair.error)
    assert served(pair) == pairs[0].der
    assert not pair.refresh()
    place.key.unlink()
    assert settled(pair)
    assert "cannot be read" in str(pair.error)
    pairs[1].copy_to(place)
    assert (settled(pair), pair.error, served(pair)) == (True, None, pairs[1].der)


def test_an_expired_one_takes_the_place_of_no_valid_one(place: Pair, pairs: list[Pair], authority: Authority) -> None:
    expired = authority.pair(from_time=LONG_AGO, until_time=YESTERYEAR)
    pair = loaded(place)
    expired.copy_to(place)
    assert settled(pair)
    assert "holds a certificate that expired on 2021-01-01; write one that is valid now" in str(pair.error)
    assert served(pair) == pairs[0].der


def test_an_expired_one_is_served_where_there_is_none_better(
    place: Pair, pairs: list[Pair], authority: Authority
) -> None:
    for _ in range(2):
        expired = authority.pair(from_time=LONG_AGO, until_time=YESTERYEAR)
        expired.copy_to(place)
        assert served(loaded(place)) == expired.der
    pair = loaded(place)
    another = authority.pair(from_time=LONG_AGO, until_time=YESTERYEAR)
    another.copy_to(place)
    assert (settled(pair), pair.error, served(pair)) == (True, None, another.der)
    pairs[0].copy_to(place)
    assert (settled(pair), served(pair)) == (True, pairs[0].der)


def test_no_handshake_fails_while_pairs_are_exchanged(place: Pair, pairs: list[Pair]) -> None:
    """Each exchange falls into the middle of handshakes, in which the key has been used and its proof not been read."""
    pair = loaded(place)
    for number in range(1, 21):
        clients = [TlsClient(anybody()) for _ in range(3)]
        servers = [TlsServer(pair) for _ in clients]
        hellos = [client.step() for client in clients]
        answers = [servers[0].step(hellos[0]), b"", servers[2].step(hellos[2][:40])]
        pairs[number % 2].copy_to(place)
        assert settled(pair)
        assert pair.error is None
        servers[0].step(clients[0].step(answers[0]))
        for client, server, rest in ((clients[1], servers[1], hellos[1]), (clients[2], servers[2], hellos[2][40:])):
            server.step(client.step(server.step(rest)))
        assert all(client.established for client in clients)
        shown = [client.tls.getpeercert(binary_form=True) for client in clients]
        assert set(shown) <= {pairs[0].der, pairs[1].der}
        assert served(pair) == pairs[number % 2].der
