"""An address beyond loopback is refused unless it is encrypted and somebody says who may call: every combination."""

from itertools import compress, product
from pathlib import Path

import pytest

from audiohook.config import load
from audiohook.errors import ConfigError

ENCRYPTED = {
    "TLS": ["tls.certificate_file=c", "tls.key_file=k"],
    "a proxy that ends it": ['server.trusted_proxies=["10.0.0.0/8"]'],
}
CLOSED = {
    "keys": ["auth.keys_file=k"],
    "networks": ['server.allow=["192.0.2.0/24"]'],
    "client certificates": ["tls.client_ca_file=a", "tls.require_client_certificate=true"],
}
PUBLIC = 'server.listen=["127.0.0.1:1", "192.0.2.1:8443"]'


def refused(settings: list[str]) -> ConfigError | None:
    try:
        load(None, settings)
    except ConfigError as error:
        return error
    return None


def combinations() -> list[list[str]]:
    """Return every choice of names, but for client certificates without TLS, which are refused for themselves."""
    every = (*ENCRYPTED, *CLOSED)
    choices = [list(compress(every, chosen)) for chosen in product([False, True], repeat=len(every))]
    return [names for names in choices if "client certificates" not in names or "TLS" in names]


@pytest.mark.parametrize("anonymous", [False, True])
@pytest.mark.parametrize("names", combinations(), ids=lambda names: ", ".join(names) or "nothing")
def test_who_may_listen_beyond_loopback(names: list[str], anonymous: bool) -> None:
    settings = [setting for name in names for setting in (ENCRYPTED | CLOSED)[name]]
    settings += ["server.allow_anonymous=true"] * anonymous
    error = refused([*settings, PUBLIC])
    guarded = any(name in ENCRYPTED for name in names) and any(name in CLOSED for name in names)
    if guarded or anonymous:
        assert error is None
        return
    assert error is not None
    assert (error.file, error.key, error.value) == ("--set", "server.listen[1]", "192.0.2.1:8443")
    for key in ("tls.certificate_file", "server.trusted_proxies", "auth.keys_file", "server.allow", "127.0.0.1"):
        assert key in error.remedy


@pytest.mark.parametrize("everybody", ["0.0.0.0/0", "::/0"])
@pytest.mark.parametrize(
    "others", [ENCRYPTED["TLS"], CLOSED["keys"]], ids=["who may call is everybody", "the proxy is everybody"]
)
def test_a_list_that_names_everybody_protects_from_nobody(others: list[str], everybody: str) -> None:
    key = "server.allow" if others is ENCRYPTED["TLS"] else "server.trusted_proxies"
    assert refused([*others, f'{key}=["192.0.2.0/24"]', PUBLIC]) is None
    error = refused([*others, f'{key}=["192.0.2.0/24", "{everybody}"]', PUBLIC])
    assert error is not None
    assert error.key == "server.listen[1]"


def test_the_file_that_named_the_address_is_blamed_whatever_else_was_set(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[server]\nlisten = ["[::]:8443"]\n')
    with pytest.raises(ConfigError) as caught:
        load(str(file), ['server.allow=["192.0.2.0/24"]'])
    assert str(caught.value).startswith(f"{file}: server.listen[0] = '[::]:8443': not a loopback address, so TLS ")
