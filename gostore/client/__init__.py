"""The client of a daemon: Client, for scripts. It imports nothing of the daemon.

This file is the room's only door. verbs.py says what is sent and what the answers mean, and
blocking.py carries that out. Open verbs.py first. It needs `pip install 'gostore[client]'`.
"""

from gostore.client.blocking import Client, Download
from gostore.client.errors import ClientError
from gostore.client.patience import Patience
from gostore.client.values import Blob

__all__ = ["Blob", "Client", "ClientError", "Download", "Patience"]
