"""The network that a request came from: its peer's, or what trusted proxies say of theirs; what a client writes itself is not believed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
IPV4, IPV6 = 24, 56
"""Bits of an address that one network shares: what a household or a small site gets."""
NOWHERE = "nowhere"
"""Where a request came from whose peer has no address, such as one through a local socket."""


class Networks:
    """Tells networks.

    Args:
        trusted: networks of proxies whose `X-Forwarded-For` is believed.
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self.trusted: tuple[Network, ...] = tuple(ip_network(network, strict=False) for network in trusted)

    def of(self, peer: str, forwarded: Sequence[str] = ()) -> str:
        """The network that a request counts for.

        Every proxy appends whom it heard from, so the list is read from its end, and only as long as the one who wrote is trusted.
        An element that is no address ends the reading: the request then counts for the proxy that let it through.

        Args:
            peer: the address of who connected.
            forwarded: the `X-Forwarded-For` headers in the order in which they came.

        >>> Networks().of("203.0.113.9", ["198.51.100.7"])
        '203.0.113.0/24'
        >>> Networks(["10.0.0.0/8"]).of("10.1.2.3", ["6.6.6.6, 198.51.100.7"])
        '198.51.100.0/24'
        """
        address = _address(peer)
        if address is None:
            return NOWHERE
        said = [part for header in forwarded for part in header.split(",")]
        while said and self._trusts(address):
            before = _address(said.pop())
            if before is None:
                break
            address = before
        return str(ip_network((address, IPV4 if isinstance(address, IPv4Address) else IPV6), strict=False))

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self.trusted)


def network_of(peer: str, forwarded: Sequence[str], trusted: Iterable[str]) -> str:
    """The network that a request counts for; `Networks(trusted).of(...)` for one request.

    >>> network_of("2001:db8:1:2ff::9", [], [])
    '2001:db8:1:200::/56'
    """
    return Networks(trusted).of(peer, forwarded)


def _address(told: str) -> Address | None:
    """An address in one of the forms that proxies write: with a port, in brackets, with a zone; IPv4 within IPv6 is IPv4."""
    text = told.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address
