"""A Ceph of the tests' own, from Debian's packages: a monitor, a manager, three OSDs and an RGW.

Authentication inside is off, so nothing is encrypted. All of it listens on this machine only.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from pathlib import Path

from tests.e2e.daemon import PATIENCE, eventually
from tests.e2e.seaweed import BUCKET, KEY, SECRET, free_port, status_of

PROGRAMS = ("ceph-mon", "ceph-mgr", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool")

CONF = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
ms mon service mode = crc
ms mon cluster mode = crc
public addr = 127.0.0.1
cluster addr = 127.0.0.1
run dir = {base}
log file = {base}/$name.log
admin socket = {base}/$name.asok
pid file = {base}/$name.pid
crash dir = {base}
mon data = {base}/mon.$id
mgr data = {base}/mgr.$id
osd data = {base}/osd.$id
osd crush chooseleaf type = 0
osd pool default size = 3
osd pool default min size = 2
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd max object name len = 460
osd max object namespace len = 64
bluestore block size = 4294967296
mon max pg per osd = 1000
mon data avail crit = 1
mon data avail warn = 1
osd heartbeat grace = 6
mon osd min down reporters = 1
mgr initial modules =
rgw frontends = beast endpoint=127.0.0.1:{rgw}
rgw dns name = 127.0.0.1
"""


def missing() -> list[str]:
    """The programs that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Ceph:
    """The processes, started by `start` and killed by `close`."""

    def __init__(self, directory: Path, osds: int = 3) -> None:
        self.directory = directory
        self.osds = osds
        self.rgw = free_port()
        self.conf = directory / "ceph.conf"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}

    @property
    def endpoint(self) -> str:
        """The URL of its S3 gateway."""
        return f"http://127.0.0.1:{self.rgw}"

    def start(self) -> Ceph:
        """Start all, and make the bucket."""
        base, fsid, v2, v1 = self.directory, str(uuid.uuid4()), free_port(), free_port()
        self.conf.write_text(CONF.format(fsid=fsid, v2=v2, v1=v1, base=base, rgw=self.rgw))
        for name in ("mon.a", "mgr.x", *(f"osd.{number}" for number in range(self.osds))):
            (base / name).mkdir()
        monmap = str(base / "monmap")
        address = f"[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]"
        self._do("monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, monmap)
        self._do("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._run("mon", "ceph-mon", "-f", "-i", "a")
        self._do("ceph", "--connect-timeout", "30", "health")
        self._run("mgr", "ceph-mgr", "-f", "-i", "x")
        for number in range(self.osds):
            osd = str(uuid.uuid4())
            self._do("ceph", "osd", "new", osd)
            self._do("ceph-osd", "--mkfs", "-i", str(number), "--osd-uuid", osd)
            self._run(f"osd{number}", "ceph-osd", "-f", "-i", str(number))
        eventually(lambda: self.up() == self.osds, "all OSDs are up")
        self.make_user("tests", KEY)
        self._run("rgw", "radosgw", "-f", "-n", "client.rgw")
        eventually(lambda: status_of(self.rgw, "/")[0] == 200, "RGW answers")
        self.make_bucket(BUCKET, KEY)
        return self

    def make_user(self, name: str, key: str) -> None:
        """Make an account."""
        user = (f"--uid={name}", f"--display-name={name}", f"--access-key={key}")
        self.administer("user", "create", *user, f"--secret={SECRET}")

    def make_bucket(self, name: str, key: str) -> None:
        """Make a bucket that belongs to the account with this key."""
        command = ["curl", "-sS", "--fail", "--aws-sigv4", "aws:amz:us-east-1:s3", "-X", "PUT"]
        command += ["--user", f"{key}:{SECRET}", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
        subprocess.run([*command, f"{self.endpoint}/{name}"], check=True, timeout=PATIENCE)

    def administer(self, *arguments: str) -> None:
        """Run a command about accounts."""
        self._do("radosgw-admin", *arguments)

    def up(self) -> int:
        """How many OSDs are up."""
        return int(json.loads(self._do("ceph", "osd", "stat", "--format=json"))["num_up_osds"])

    def _do(self, program: str, *arguments: str) -> bytes:
        command = [program, "-c", str(self.conf), *arguments]
        done = subprocess.run(command, capture_output=True, timeout=2 * PATIENCE)
        assert done.returncode == 0, (command, done.stderr.decode()[-2000:])
        return done.stdout

    def _run(self, name: str, *command: str) -> None:
        self._commands[name] = [*command, "-c", str(self.conf)]
        self.restart(name)

    def restart(self, name: str) -> None:
        """Start a process, or start it again."""
        with (self.directory / f"{name}.out").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self._commands[name], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self, name: str) -> None:
        """Kill one of the processes."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def close(self) -> None:
        """Kill all, the last one first."""
        for name in reversed(list(self.processes)):
            self.kill(name)
