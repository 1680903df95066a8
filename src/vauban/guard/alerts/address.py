"""Where a webhook may go: never into the guard's own network, unless its owner named that part of it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from vauban.errors import BadGuard

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
TRANSLATED = ip_network("64:ff9b::/96")
"""IPv6 addresses that a gateway turns into the IPv4 address in their last 32 bits (RFC 6052)."""
PORTS = {"http": 80, "https": 443}


class Forbidden(Exception):
    """An address that webhooks are not sent to."""


def parsed(url: str) -> SplitResult:
    """The parts of a webhook's URL.

    Raises:
        BadGuard: it is not http or https, has no host, or carries credentials, which would end in logs.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise BadGuard(f"webhook {shown(url)}: is no URL: {error}") from error
    if not url.isascii() or not url.isprintable() or " " in url:
        raise BadGuard(f"webhook {shown(url)}: holds blanks or other than ASCII characters; write it encoded")
    if parts.scheme not in PORTS or not host or port == 0:
        raise BadGuard(f"webhook {shown(url)}: must be https://host/path, or http:// inside a network named in `allow`")
    if parts.username is not None or parts.password is not None:
        raise BadGuard(f"webhook {shown(url)}: holds a user name or password; webhooks are signed with the secret of `secret_env`")
    return parts


def shown(url: str) -> str:
    """A webhook's URL as far as it may be told: its path may be its secret."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}/..."


def pinned(addresses: Sequence[str], allow: Sequence[str], encrypted: bool) -> str:
    """The address to connect to, of all that a name has.

    One forbidden address among them refuses the name: who can answer for a part of it can answer differently next time.

    Args:
        addresses: what the name was resolved to, once.
        allow: networks that the owner named.
        encrypted: whether it is https; without, only an allowed network is written to.

    Raises:
        Forbidden: one of them is private, local, shared, reserved or multicast, and not allowed.
    """
    if not addresses:
        raise Forbidden("the name has no address")
    named = [ip_network(n) for n in allow]
    for text in addresses:
        address = _meant(ip_address(text.partition("%")[0]))
        allowed = any(address in network for network in named)
        if not allowed and not _public(address):
            raise Forbidden(f"{address} is not a public address; name its network in `allow` if it is meant")
        if not allowed and not encrypted:
            raise Forbidden(f"{address}: http is only for networks named in `allow`; use https")
    return addresses[0]


def _public(address: Address) -> bool:
    tunnelled = isinstance(address, IPv6Address) and (address.sixtofour is not None or address.teredo is not None)
    return address.is_global and not address.is_multicast and not address.is_reserved and not tunnelled


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in TRANSLATED:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
