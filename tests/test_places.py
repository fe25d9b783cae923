"""Tests of gostore.places."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.places import Places, network_of


class PlacesTests(SynchronousTestCase):
    """Places."""

    def test_shares(self) -> None:
        """One network has three places of four at most, and another the last one."""
        places = Places(4)
        mine = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"]
        self.assertEqual([places.take(address) for address in mine], [True] * 3 + [False])
        self.assertTrue(places.take("192.0.2.1"))
        self.assertFalse(places.take("192.0.2.2"))
        places.leave(mine[0])
        self.assertTrue(places.is_free_for(mine[3]))
        self.assertTrue(places.take("192.0.2.2"))

    def test_no_address(self) -> None:
        """Clients without an address may have all places."""
        places = Places(2)
        self.assertEqual([places.take(None) for _ in range(3)], [True, True, False])

    def test_one(self) -> None:
        """A single place is anybody's."""
        places = Places(1)
        self.assertTrue(places.take("192.0.2.1"))
        self.assertFalse(places.take("192.0.2.2"))
        places.leave("192.0.2.1")
        self.assertEqual(places.taken, {})


class NetworkTests(SynchronousTestCase):
    """network_of."""

    def test_networks(self) -> None:
        """An IPv4 address stands for itself, IPv6 for its first 64 bits, however it is written."""
        for address, network in (
            (None, None),
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
        ):
            self.assertEqual(network_of(address), network)
