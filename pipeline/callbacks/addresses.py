"""Which addresses may be called: those of the public Internet, and what the configuration allows beside them.

Judged is the address that is connected to, whatever name led there; so a name that changes its mind (DNS rebinding)
gains nothing.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

#: IANA's special-purpose registry, multicast and the reserved rest: none of it is a host on the public Internet.
_SPECIAL_4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
]  # fmt: skip
#: Of IPv6 only this is given to hosts on the public Internet ...
_UNICAST_6 = IPv6Network("2000::/3")
#: ... and of it not what IETF protocols (Teredo, ORCHID, benchmarks) and documentation have.
_SPECIAL_6 = [IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "3fff::/20")]
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052


def is_public(address: Address) -> bool:
    """Whether it is a host's on the public Internet. An address that carries an IPv4 one is what that is."""
    carried = _carried(address)
    if carried is not None:
        return is_public(carried)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_4)
    return address in _UNICAST_6 and not any(address in network for network in _SPECIAL_6)


def _carried(address: Address) -> IPv4Address | None:
    """The IPv4 address inside: mapped (::ffff:0:0/96), 6to4 (RFC 3056) or translated (NAT64)."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


class Policy:
    """The public Internet, and the networks of `allow` ("127.0.0.0/8"). Raises ValueError for what is no network."""

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self._allowed = [ip_network(network) for network in allow]

    def permits(self, address: str) -> bool:
        """Whether this address, as a resolver writes it, may be called."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        carried = _carried(found)
        return self._allows(found) or (carried is not None and self._allows(carried)) or is_public(found)

    def permits_host(self, host: str) -> bool:
        """False for a URL's host that is an address, and one that may not be called. A name is judged when it is
        resolved."""
        try:
            ip_address(host.strip("[]"))
        except ValueError:
            return True
        return self.permits(host.strip("[]"))

    def _allows(self, address: Address) -> bool:
        return any(address in network for network in self._allowed if network.version == address.version)
