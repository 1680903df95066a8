"""Where a request came from: trusted proxies are believed from the right, clients never."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vauban.guard.limits import Networks, network_of
from vauban.guard.limits.network import NOWHERE

TRUSTED = ["10.0.0.0/8", "fd00::/8"]
CLIENT = "198.51.100.77"
GARBAGE = st.text(max_size=60) | st.ip_addresses().map(str) | st.just("unknown") | st.just("127.0.0.1, 10.0.0.1")


@pytest.mark.parametrize(
    "peer, network",
    [
        ("203.0.113.9", "203.0.113.0/24"),
        ("203.0.113.255", "203.0.113.0/24"),
        ("2001:db8:1:2ff::9", "2001:db8:1:200::/56"),
        ("2001:db8:1:3ff::9", "2001:db8:1:300::/56"),
        ("::ffff:203.0.113.9", "203.0.113.0/24"),
        ("fe80::1%eth0", "fe80::/56"),
        ("", NOWHERE),
        ("testclient", NOWHERE),
        ("0x7f000001", NOWHERE),
        ("2130706433", NOWHERE),
        ("127.0.0.01", NOWHERE),
    ],
)
def test_an_address_counts_for_its_network(peer: str, network: str) -> None:
    assert network_of(peer, [], []) == network


@pytest.mark.parametrize(
    "forwarded, network",
    [
        ([CLIENT], "198.51.100.0/24"),
        ([f"6.6.6.6, {CLIENT}"], "198.51.100.0/24"),
        (["6.6.6.6", CLIENT], "198.51.100.0/24"),
        ([f"6.6.6.6, {CLIENT}, 10.9.9.9"], "198.51.100.0/24"),
        ([f"6.6.6.6,{CLIENT} ,10.9.9.9", "fd00::7"], "198.51.100.0/24"),
        ([f"{CLIENT}:54321"], "198.51.100.0/24"),
        (["[2001:db8:1:2ff::9]:443"], "2001:db8:1:200::/56"),
        (["[2001:db8:1:2ff::9]"], "2001:db8:1:200::/56"),
        (["2001:db8:1:2ff::9"], "2001:db8:1:200::/56"),
        ([f"::ffff:{CLIENT}"], "198.51.100.0/24"),
        ([], "10.1.2.0/24"),
        (["10.3.3.3"], "10.3.3.0/24"),
        (["10.4.4.4, 10.3.3.3"], "10.4.4.0/24"),
        ([""], "10.1.2.0/24"),
        (["unknown"], "10.1.2.0/24"),
        ([f"{CLIENT}, unknown"], "10.1.2.0/24"),
        ([f"{CLIENT}, _hidden, 10.5.5.5"], "10.5.5.0/24"),
        ([f"{CLIENT}; 6.6.6.6"], "10.1.2.0/24"),
    ],
)
def test_a_trusted_proxy_is_believed_from_the_right_up_to_the_first_that_is_not(forwarded: list[str], network: str) -> None:
    assert network_of("10.1.2.3", forwarded, TRUSTED) == network


@settings(deadline=None)
@given(st.lists(GARBAGE, max_size=6))
def test_who_connects_itself_writes_whatever_it_likes_for_nothing(forwarded: list[str]) -> None:
    assert network_of(CLIENT, forwarded, TRUSTED) == "198.51.100.0/24"


@settings(deadline=None)
@given(st.lists(GARBAGE, max_size=6), st.booleans())
def test_whatever_a_client_sends_through_a_proxy_the_proxys_own_word_counts(forwarded: list[str], apart: bool) -> None:
    """A proxy appends to the header that came, or adds one of its own."""
    headers = [*forwarded, CLIENT] if apart or not forwarded else [*forwarded[:-1], f"{forwarded[-1]}, {CLIENT}"]
    assert network_of("10.1.2.3", headers, TRUSTED) == "198.51.100.0/24"


@settings(deadline=None)
@given(st.ip_addresses())
def test_a_6to4_address_of_a_trusted_network_is_not_trusted(address: object) -> None:
    inside = ip_address("2002:0a01:0203::1")  # 6to4 for 10.1.2.3, which anybody on the internet may have
    assert network_of(str(inside), [str(address)], TRUSTED) == str(ip_network("2002:a01:203::/56"))


@settings(deadline=None)
@given(st.ip_addresses())
def test_a_network_holds_its_address_and_256_or_2_to_the_72_others(address: object) -> None:
    told = ip_network(Networks().of(str(address)))
    mapped = getattr(address, "ipv4_mapped", None)
    assert (mapped or address) in told
    assert told.prefixlen == (24 if told.version == 4 else 56)
