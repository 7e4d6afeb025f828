"""What is agreed on in a handshake with `TlsPair`: versions, suites, sessions, ALPN, client certificates."""

import ssl

import pytest

from audiohook.config import Tls
from audiohook.net.tls_pair import TlsPair
from tests.support.certificates import Authority, Pair
from tests.support.tls import TlsClient, TlsServer, anybody, shake_hands

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def ec(authority: Authority) -> Pair:
    return authority.pair()


@pytest.fixture(scope="module")
def rsa(authority: Authority) -> Pair:
    return authority.pair(kind="rsa")


def loaded(pair: Pair, **settings: object) -> TlsPair:
    return TlsPair(Tls(certificate_file=str(pair.certificate), key_file=str(pair.key), **settings))  # type: ignore[arg-type]


def only(version: ssl.TLSVersion, suites: str = "") -> ssl.SSLContext:
    context = anybody()
    context.minimum_version = context.maximum_version = version
    if suites:
        context.set_ciphers(f"{suites}:@SECLEVEL=0")
    return context


def agreed(context: ssl.SSLContext, pair: TlsPair, session: ssl.SSLSession | None = None) -> TlsClient:
    client = TlsClient(context, session)
    shake_hands(client, TlsServer(pair))
    return client


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_both_versions_are_agreed_on_with_ephemeral_keys_and_aead(
    kind: str, version: ssl.TLSVersion, request: pytest.FixtureRequest
) -> None:
    client = agreed(only(version), loaded(request.getfixturevalue(kind)))
    name, protocol, _ = client.tls.cipher() or ("", "", 0)
    assert protocol.replace(".", "_") == version.name
    assert "GCM" in name or "CHACHA20" in name
    assert name.startswith("ECDHE-" if version is TLS_1_2 else "TLS_")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_versions_are_refused(version: ssl.TLSVersion, rsa: Pair) -> None:
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        agreed(only(version, "ALL"), loaded(rsa))


@pytest.mark.parametrize(
    "suites",
    ["AES256-GCM-SHA384", "AES128-SHA", "ECDHE-RSA-AES256-SHA384", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES128-SHA"],
)
def test_suites_without_ephemeral_keys_or_aead_are_refused(suites: str, rsa: Pair) -> None:
    with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
        agreed(only(TLS_1_2, suites), loaded(rsa))


def test_1_3_can_be_demanded(ec: Pair) -> None:
    pair = loaded(ec, minimum_version="1.3")
    assert agreed(anybody(), pair).tls.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        agreed(only(TLS_1_2), pair)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_no_session_is_resumed(version: ssl.TLSVersion, ec: Pair) -> None:
    pair, context = loaded(ec), only(version)
    first = agreed(context, pair)
    session = first.tls.session
    assert session is None or not session.has_ticket
    second = agreed(context, pair, session)
    assert second.tls.session_reused is False


def test_a_session_that_could_be_resumed_would_be_seen(ec: Pair) -> None:
    """The check above can fail: one context for all, tickets off, is what it holds against."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.options |= ssl.OP_NO_TICKET
    server_context.load_cert_chain(ec.certificate, ec.key)

    class OneContext(TlsPair):
        def __init__(self) -> None:
            pass

        def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
            return server_context.wrap_bio(incoming, outgoing, server_side=True)

    context = only(TLS_1_2)
    first = agreed(context, OneContext())
    assert agreed(context, OneContext(), first.tls.session).tls.session_reused is True


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], None), ([], None)]
)
def test_alpn_is_http_1_1_or_nothing(offered: list[str], chosen: str | None, ec: Pair) -> None:
    context = anybody()
    if offered:
        context.set_alpn_protocols(offered)
    assert agreed(context, loaded(ec)).tls.selected_alpn_protocol() == chosen


def test_nothing_is_compressed(ec: Pair) -> None:
    assert agreed(anybody(), loaded(ec)).tls.compression() is None


def with_certificate(pair: Pair) -> ssl.SSLContext:
    context = anybody()
    context.load_cert_chain(pair.certificate, pair.key)
    return context


@pytest.mark.parametrize("required", [False, True])
def test_client_certificates(
    required: bool, ec: Pair, rsa: Pair, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    strange = Authority(tmp_path_factory.mktemp("strange")).pair()
    pair = loaded(ec, client_ca_file=str(authority.certificate), require_client_certificate=required)
    agreed(with_certificate(rsa), pair)
    with pytest.raises(ssl.SSLCertVerificationError):
        agreed(with_certificate(strange), pair)
    if required:
        with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
            agreed(anybody(), pair)
    else:
        agreed(anybody(), pair)
