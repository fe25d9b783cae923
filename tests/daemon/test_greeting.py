"""Tests for gostore.daemon.greeting: addresses and warnings, for people."""

from __future__ import annotations

import os
import socket

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon import greeting
from gostore.daemon.listener import Address
from tests.test_tap import temporary


def at(host: object, listen: str = "tcp:7777") -> Address:
    """An address that is listened on."""
    return Address(listen, host)


ANYWHERE = IPv4Address("TCP", "0.0.0.0", 7777)


class AddressTests(SynchronousTestCase):
    """Addresses, for people."""

    def test_url(self) -> None:
        """An address is shown as the URL it answers at."""
        urls = {
            ANYWHERE: "http://0.0.0.0:7777",
            IPv6Address("TCP", "::1", 80): "http://[::1]:80",
            UNIXAddress("/run/x.sock"): "unix:/run/x.sock",
            UNIXAddress(b"/run/\xff.sock"): "unix:/run/\\xff.sock",
            UNIXAddress("/run/é\n.sock"): "unix:/run/é\\n.sock",
        }
        for address, url in urls.items():
            self.assertEqual(greeting.url(at(address)), url)
        self.assertEqual(greeting.url(at("something else")), "something else")

    def test_https(self) -> None:
        """The URL of a TLS endpoint is an https one, and that of another is not."""
        self.assertEqual(greeting.url(at(ANYWHERE, "ssl:7777")), "https://0.0.0.0:7777")
        self.assertEqual(greeting.url(at(ANYWHERE, "systemd:index=0")), "http://0.0.0.0:7777")

    def test_hidden(self) -> None:
        """How to be reached from this machine only keeps the port, and keeps TLS."""
        host = IPv4Address("TCP", "0.0.0.0", 8080)
        self.assertEqual(greeting.how_to_hide(at(host)), "-s 127.0.0.1:8080")
        hint = greeting.how_to_hide(at(host, "ssl:8080:privateKey=key.pem"))
        self.assertEqual(hint, "interface=127.0.0.1 in the endpoint")

    def test_curl(self) -> None:
        """The command to paste goes to an address that answers from this machine."""
        targets = {
            ANYWHERE: "http://localhost:7777/",
            IPv6Address("TCP", "::", 80): "http://localhost:80/",
            IPv4Address("TCP", "192.0.2.7", 80): "http://192.0.2.7:80/",
            IPv6Address("TCP", "::1", 80): "http://[::1]:80/",
            UNIXAddress("/x.sock"): "--unix-socket /x.sock http://localhost/",
            UNIXAddress("/it's $x"): "--unix-socket '/it'\"'\"'s $x' http://localhost/",
        }
        for address, target in targets.items():
            self.assertIn(f" {target}store/hello ", greeting.curl(at(address)))

    def test_reachable(self) -> None:
        """Loopback is for this machine only; other addresses are not, and are warned of."""
        for host in (
            IPv4Address("TCP", "127.0.0.1", 1),
            IPv4Address("TCP", "127.1.2.3", 1),
            IPv6Address("TCP", "::1", 1),
        ):
            self.assertEqual(greeting.warnings([at(host)]), [])
        others = [IPv4Address("TCP", "192.0.2.7", 1), IPv6Address("TCP", "fe80::1%eth0", 1)]
        warnings = greeting.warnings([at(host) for host in others])
        self.assertEqual([("whoever can reach" in each) for each in warnings], [True, True])

    def test_unix(self) -> None:
        """A unix socket is warned of if every user may connect, and not if some may."""
        path = str(temporary(self) / "x.sock")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            for mode, warned in ((0o600, 0), (0o660, 0), (0o666, 1), (0o662, 1), (0o664, 0)):
                os.chmod(path, mode)
                warnings = greeting.warnings([at(UNIXAddress(path), f"unix:{path}")])
                self.assertEqual(len(warnings), warned, oct(mode))
                for warning in warnings:
                    self.assertIn(f"every user of this machine who can reach unix:{path}", warning)
        self.assertEqual(greeting.warnings([at(UNIXAddress(None)), at(UNIXAddress("/no"))]), [])
