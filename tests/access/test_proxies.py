"""Tests for gostore.access.proxies: which address is the client's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.access.proxies import MAX_HOPS, Hop, parse_forwarded, parse_list, parse_proxies

OURS = parse_proxies("10.0.0.0/8,::1,unix")


def origin(*addresses: str, peer: str | None = "10.0.0.1") -> str:
    """The client's address by a list of addresses."""
    return OURS.origin(peer, [Hop(address) for address in addresses]).address


class ProxiesTests(SynchronousTestCase):
    """The trusted ones."""

    def test_trust(self) -> None:
        """A peer is trusted by its address or network, also as mapped IPv6; others are not."""
        for address in ("10.0.0.1", "10.255.255.255", "::1", "::ffff:10.1.1.1", "::1%lo", None):
            self.assertTrue(OURS.trust(address), address)
        for address in ("11.0.0.1", "::2", "nonsense", "::ffff:11.0.0.1", ""):
            self.assertFalse(OURS.trust(address), address)
        self.assertFalse(parse_proxies("10.0.0.0/8").trust(None))
        for number in range(2000):
            self.assertFalse(OURS.trust(f"11.0.{number >> 8}.{number & 255}"))

    def test_refused(self) -> None:
        """What is no address is refused, and a network with bits that it does not have."""
        for text in ("", "example.org", "10.0.0.0/33", "10.0.0.1/8", "unix,,::1", "10.0.0.1:80"):
            with self.assertRaises(ValueError) as caught:
                parse_proxies(text)
            self.assertIn("is no address, network or unix", str(caught.exception))

    def test_from_the_right(self) -> None:
        """The client is the first address from the right that is no trusted proxy."""
        self.assertEqual(origin("192.0.2.1"), "192.0.2.1")
        self.assertEqual(origin("6.6.6.6", "192.0.2.1", "10.0.0.2"), "192.0.2.1")
        self.assertEqual(origin("10.0.0.3", "10.0.0.2"), "10.0.0.3")
        self.assertEqual(origin(), "10.0.0.1")

    def test_forms(self) -> None:
        """An address may have a port, brackets and a zone, and may be IPv4 in IPv6."""
        for text, address in (
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:DB8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
            ("fe80::1%eth0", "fe80::1"),
        ):
            self.assertEqual(origin("6.6.6.6", text), address)

    def test_no_address(self) -> None:
        """What is no address ends the search at the proxy that wrote it."""
        for text in ("unknown", "_hidden", "", "1.2.3", "192.0.2.1 6.6.6.6", "[::1", "a:b", "٣"):
            self.assertEqual(origin("192.0.2.1", text, "10.0.0.2"), "10.0.0.2")
            self.assertEqual(origin("192.0.2.1", text), "10.0.0.1")
        self.assertEqual(origin("unknown", peer=None), "")

    def test_what_each_hop_says(self) -> None:
        """Scheme and host are those that the outermost trusted proxy saw."""
        hops = [
            Hop("6.6.6.6", "https", "forged"),
            Hop("192.0.2.1", "https", "a.example"),
            Hop("10.0.0.2", "http", "inner"),
        ]
        self.assertEqual(OURS.origin(None, hops), hops[1])
        self.assertEqual(OURS.origin("::1", [Hop("", "https", "a")]), Hop("::1", "https", "a"))
        self.assertEqual(
            OURS.origin("::1", [Hop("192.0.2.1"), Hop("10.0.0.2", "https")]).proto, "https"
        )

    def test_forwarded(self) -> None:
        """Forwarded is read as RFC 7239 section 4 has it."""
        self.assertEqual(
            parse_forwarded('for=192.0.2.60;proto=http;by=203.0.113.43, FOR="[2001:db8::1]:47"'),
            [Hop("192.0.2.60", "http"), Hop("[2001:db8::1]:47")],
        )
        self.assertEqual(parse_forwarded('host="a\\"b,c;d"'), [Hop("", "", 'a"b,c;d')])
        for value in ("for", "for=a b", "for=a;for=b", 'for="a', "=a", "for=a;;proto=b", "for=a;"):
            self.assertIsNone(parse_forwarded(value), value)

    def test_bound(self) -> None:
        """Of a long list only the right end is read."""
        many = ",".join(f"10.0.0.{number}" for number in range(200))
        self.assertEqual(parse_list(many)[-1], "10.0.0.199")
        self.assertEqual(len(parse_list(many)), MAX_HOPS)
        found = parse_forwarded(",".join(f"for=10.0.0.{number}" for number in range(200)))
        assert found is not None
        self.assertEqual((len(found), found[-1].address), (MAX_HOPS, "10.0.0.199"))

    @given(
        st.text(max_size=60), st.lists(st.text("0123456789abcdef:.[]%", max_size=20), max_size=4)
    )
    def test_any_text(self, value: str, addresses: list[str]) -> None:
        """No text does more than say nothing."""
        parse_forwarded(value)
        parse_list(value)
        origin(*addresses, value)
