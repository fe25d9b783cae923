"""Tests for gostore.daemon.greeting: addresses and warnings, for people."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon import greeting
from gostore.daemon.settings import Settings

ANYWHERE = IPv4Address("TCP", "0.0.0.0", 7777)


class AddressTests(SynchronousTestCase):
    """Addresses, for people."""

    settings = Settings()

    def test_url(self) -> None:
        """An address is shown as the URL it answers at."""
        urls = {
            ANYWHERE: "http://0.0.0.0:7777",
            IPv6Address("TCP", "::1", 80): "http://[::1]:80",
            UNIXAddress("/run/x.sock"): "unix:/run/x.sock",
            UNIXAddress(b"/run/\xff.sock"): "unix:/run/\\xff.sock",
        }
        for address, url in urls.items():
            self.assertEqual(greeting.url(self.settings, address), url)
        self.assertEqual(greeting.url(self.settings, "something else"), "something else")

    def test_https(self) -> None:
        """A TLS endpoint is an https URL."""
        settings = evolve(self.settings, listen="ssl:7777")
        self.assertEqual(greeting.url(settings, ANYWHERE), "https://0.0.0.0:7777")

    def test_hidden(self) -> None:
        """How to be reached from this machine only keeps the port, and keeps TLS."""
        address = IPv4Address("TCP", "0.0.0.0", 8080)
        self.assertEqual(greeting.how_to_hide(self.settings, address), "-s 127.0.0.1:8080")
        settings = evolve(self.settings, listen="ssl:8080:privateKey=key.pem")
        hint = greeting.how_to_hide(settings, address)
        self.assertEqual(hint, "interface=127.0.0.1 in the endpoint")

    def test_curl(self) -> None:
        """The command to paste goes to an address that answers from this machine."""
        targets = {
            ANYWHERE: "http://localhost:7777/",
            IPv6Address("TCP", "::", 80): "http://localhost:80/",
            IPv4Address("TCP", "192.0.2.7", 80): "http://192.0.2.7:80/",
            IPv6Address("TCP", "::1", 80): "http://[::1]:80/",
            UNIXAddress("/x.sock"): "--unix-socket /x.sock http://localhost/",
        }
        for address, target in targets.items():
            self.assertIn(f" {target}store/hello ", greeting.curl(self.settings, address))

    def test_reachable(self) -> None:
        """Loopback and Unix sockets are for this machine only; all else is not."""
        for host in ["127.0.0.1", "127.1.2.3"]:
            self.assertFalse(greeting.is_reachable(IPv4Address("TCP", host, 1)))
        self.assertFalse(greeting.is_reachable(IPv6Address("TCP", "::1", 1)))
        self.assertFalse(greeting.is_reachable(UNIXAddress("/x.sock")))
        self.assertTrue(greeting.is_reachable(IPv4Address("TCP", "192.0.2.7", 1)))
        self.assertTrue(greeting.is_reachable(IPv6Address("TCP", "fe80::1%eth0", 1)))
