"""The client of a daemon: for scripts (Client), for Twisted (AsyncClient), and for fsspec.

It imports nothing of the daemon, and needs `pip install '.[client]'`. This file is the door
for Client. asynchronous.py has AsyncClient, filesystem.py is what fsspec opens by its entry point,
and cli/ has the commands. verbs.py says what is sent and what the answers mean, and the clients
carry that out; resuming.py stands for a part of it where an upload is large. Open verbs.py first.
"""

from gostore.client.blocking import Client, Download
from gostore.client.errors import ClientError
from gostore.client.memory import Memory
from gostore.client.patience import Patience
from gostore.client.values import Blob, Version

__all__ = ["Blob", "Client", "ClientError", "Download", "Memory", "Patience", "Version"]
