"""Every setting of the daemon, in one table.

The table is the class ``Settings``. A field's name, with "-" for "_", is the setting's name on the
command line and in the configuration file. The field's metadata holds its row: group, default,
parser and description. The table makes the options of ``tap``, the reader of the configuration
file, and the pages of ``reference``: --help, tap.conf and docs/settings.md.

Everything is a pure value here: nothing opens a file or looks at a directory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any

from attrs import evolve, field, fields, frozen

from gostore.access.proxies import Proxies, parse_proxies
from gostore.bucket.place import Place, parse_endpoint, parse_place, parse_region
from gostore.daemon.own_log import LogFormat
from gostore.daemon.parsers import (
    or_auto,
    or_none,
    parse_access_log_format,
    parse_count,
    parse_expire,
    parse_field_name,
    parse_flag,
    parse_hosts,
    parse_id_bits,
    parse_keep,
    parse_lifetime,
    parse_listen,
    parse_log_format,
    parse_origins,
    parse_seconds,
    parse_seconds_above_zero,
    parse_size_above_zero,
    parse_sync,
    parse_text,
)
from gostore.ini import parse_size
from gostore.prefixes import ByPrefix
from gostore.volume.changes import Sync
from gostore.web.access_log import AccessLogFormat
from gostore.web.lifetimes import LifetimeRule


@frozen
class Setting:
    """One row of the table."""

    group: str
    """The heading it stands under in --help, tap.conf and docs/settings.md."""
    default: str
    """Its default, as the configuration file would write it."""
    parse: Callable[[str], object]
    """Text to value, or to one of several; raises ValueError with the reason."""
    doc: str
    """One line for people, a sentence."""
    more: str = ""
    """Further lines for tap.conf and docs/settings.md, not for --help."""
    short: str | None = None
    """Its one-letter option."""
    flag: bool = False
    """Whether it is an option without a value on the command line."""
    many: bool = False
    """Whether it takes several values: an option for each, or a line for each in the file."""
    by_prefix: bool = False
    """Whether a section of its name may set it for the locations below a prefix."""
    name: str = ""
    """Its name on the command line and in the configuration file; from the field's name."""

    def parse_all(self, texts: str | list[str]) -> object:
        """Parse the text of its one value, or of each of its values; raises ValueError."""
        if isinstance(texts, str):
            value = self.parse(texts)
            return ByPrefix(value) if self.by_prefix else value
        return tuple(map(self.parse, texts))

    def over(self, found: object, texts: str | list[str]) -> object:
        """As `parse_all`, over what a file has found: what it says of prefixes stays."""
        value = self.parse_all(texts)
        if isinstance(value, ByPrefix) and isinstance(found, ByPrefix):
            return evolve(found, default=value.default)
        return value


# The groups, in order.
GENERAL = "General"
WRITES = "Writes"
ACCESS = "Access"
LOGS = "Logs"
BACKGROUND = "In the background"
LIMITS = "Limits"
PACE = "Time and pace"


def _setting(
    group: str,
    default: str,
    parse: Callable[[str], object],
    doc: str,
    more: str = "",
    *,
    short: str | None = None,
    flag: bool = False,
    many: bool = False,
    by_prefix: bool = False,
) -> Any:
    row = Setting(group, default, parse, doc, more, short, flag, many, by_prefix)
    # For attrs this is the field's definition, for a type checker its value.
    value = row.parse_all([default] if many else default)
    return field(default=value, metadata={Setting: row})


@frozen(kw_only=True)
class Settings:
    """The values of all settings. Sizes are bytes, times are seconds."""

    dir: str = _setting(
        GENERAL,
        "./data",
        parse_text,
        "The data directory; made if it is missing.",
        "A relative path starts at twistd's working directory, wherever this file is; ~ is the home"
        " directory.",
        short="d",
    )
    make_dir: bool = _setting(
        GENERAL,
        "yes",
        parse_flag,
        "Make the data directory if it is missing; with no, refuse to start.",
        "Say no if the directory is on a disk of its own, below the mount point: without the disk"
        " gostore would start empty.",
    )
    store: Place | None = _setting(
        GENERAL,
        "none",
        or_none(parse_place),
        "Keep the blobs in an S3 bucket that daemons share, as s3://bucket/prefix, not in dir.",
        "docs/scale.md says more. Credentials come from the environment, a file or the machine's"
        " role (AWS_ACCESS_KEY_ID and so on), never from here.",
    )
    s3_endpoint: str | None = _setting(
        GENERAL,
        "none",
        or_none(parse_endpoint),
        "The URL of the engine that has the bucket; with none it is AWS.",
    )
    s3_region: str | None = _setting(
        GENERAL, "none", or_none(parse_region), "The region of the bucket, if the engine asks."
    )
    listen: tuple[str, ...] = _setting(
        GENERAL,
        "tcp:7777",
        parse_listen,
        "An address to listen on: a Twisted endpoint string, or host:port.",
        "For several addresses give the option several times, or an indented line for each in this"
        " file.",
        short="s",
        many=True,
    )
    metrics: str | None = _setting(
        GENERAL,
        "none",
        or_none(parse_listen),
        "An address of its own for /metrics, like those of listen; with none it is on all of them.",
        "There it asks for no grant, so keep it to this machine or to a private network.",
    )
    page: bool = _setting(
        GENERAL,
        "yes",
        parse_flag,
        "Give browsers a page to look around, upload and delete; with no, the plain list.",
    )
    debug: bool = _setting(
        GENERAL, "no", parse_flag, "Log debug messages too.", short="D", flag=True
    )
    put_creates: bool = _setting(
        WRITES,
        "no",
        parse_flag,
        "Let a plain PUT create a blob where there is none, instead of answering 404.",
        flag=True,
    )
    store_forms: bool = _setting(
        WRITES,
        "no",
        parse_flag,
        "Store a multipart/form-data body as it is, instead of answering 415.",
        flag=True,
    )
    draft_resumable_uploads: bool = _setting(
        WRITES,
        "no",
        parse_flag,
        "Resume a POST or PUT by the draft of the IETF, too (docs/uploads.md).",
        flag=True,
    )
    sync: Sync = _setting(
        WRITES,
        "journal",
        parse_sync,
        "How a write becomes durable before its answer: journal, files, or none (scratch data).",
        "journal flushes a redo journal once for many small writes, files flushes each file and"
        " each directory. With none, a power cut may lose or damage acknowledged blobs.",
    )
    id_bits: int | None = _setting(
        WRITES,
        "auto",
        parse_id_bits,
        "Width of blob ids: 16, 32, or auto: 16, then 32; in a bucket 16, 64, or auto: 128.",
        "auto goes on to 32 when half of those with 16 bits are taken. The first daemon over a"
        " bucket sets its width for good.",
    )
    max_blob_size: int = _setting(
        WRITES,
        "0",
        parse_size,
        "The largest blob, such as 10M or 1GiB; 0 means no limit but the disk.",
    )
    free_space_reserve: int | None = _setting(
        WRITES,
        "auto",
        or_auto(parse_size),
        "Free space that no upload may use; auto is the larger of 1 % of the disk and 64MiB.",
    )
    expire: ByPrefix[LifetimeRule] = _setting(
        WRITES,
        "never",
        parse_expire,
        "How long a blob stays whose upload does not say: never expires, 1d, or 1d max 7d.",
        "An upload may ask for another time (Expires-In), up to the maximum. A section [expire]"
        " sets both by prefix.",
        by_prefix=True,
    )
    access: str | None = _setting(
        ACCESS,
        "none",
        or_none(parse_text),
        "The access file: it says who may do what; with none, everyone may do everything.",
        "gostore access writes it. A change counts within 5 seconds, without a restart. If it has"
        " an error then, the rules stay as they were.",
    )
    trusted_proxy: Proxies | None = _setting(
        ACCESS,
        "none",
        or_none(parse_proxies),
        "The proxies that may say for whom they ask, as 192.0.2.1,10.0.0.0/8,unix.",
        "X-Forwarded-For, -Proto and -Host, Forwarded and X-Request-Id count from these peers, and"
        " from nobody else; unix stands for all Unix sockets. The proxy has to set or drop each of"
        " them.",
    )
    remote_user: str | None = _setting(
        ACCESS,
        "none",
        or_none(parse_field_name),
        "The field in which a trusted proxy names a user of the access file that it has verified.",
    )
    allow_origin: frozenset[str] | None = _setting(
        ACCESS,
        "none",
        or_none(parse_origins),
        "The origins whose pages may use this server, as https://a.example,https://b.example; *"
        " is any.",
        "This is CORS. A page of a named origin may send credentials; with *, none may. Answers are"
        " then not kept in memory (memory-cache).",
    )
    hosts: frozenset[str] | None = _setting(
        ACCESS,
        "auto",
        or_auto(parse_hosts),
        "The names of this server, as a,*.b,c: any other Host gets 421; * is any name.",
        "On a loopback address, auto is localhost, *.localhost and the loopback addresses;"
        " elsewhere it is any name. This stops a page on the web that gives a name of its own the"
        " address of this server (DNS rebinding). If a proxy on this machine passes on the Host it"
        " got, list that name here.",
    )
    log_format: LogFormat = _setting(
        LOGS,
        "text",
        parse_log_format,
        "How the lines of the daemon's own log are written: text or json.",
    )
    access_log: str | None = _setting(
        LOGS,
        "none",
        or_none(parse_text),
        "A file to which each answer adds a line; - is the standard output.",
        "SIGHUP opens it anew, after it was renamed. When its disk is full lines are dropped, and"
        " nobody waits.",
    )
    access_log_format: AccessLogFormat = _setting(
        LOGS,
        "combined",
        parse_access_log_format,
        "How its lines are written: combined, as Apache has it, or json.",
    )
    gc_interval: float = _setting(
        BACKGROUND,
        "5",
        parse_seconds_above_zero,
        "Seconds between two runs of the garbage collector.",
        "Until then the bytes of deleted and replaced blobs stay on the disk.",
    )
    keep: ByPrefix[float] = _setting(
        BACKGROUND,
        "0",
        parse_keep,
        "How long a replaced or deleted blob is kept as history: 7d, 12h, or forever.",
        "With 0, the next collection removes it. A section [keep] sets it by prefix. A shorter time"
        " than before holds an hour later. History goes before a write is refused for lack of"
        " room.",
        by_prefix=True,
    )
    scrub_rate: int = _setting(
        BACKGROUND,
        "4MiB",
        parse_size,
        "Bytes a second that the scrub reads to find damage; 0 turns it off.",
    )
    scrub_pause: float = _setting(
        BACKGROUND, "3600", parse_seconds_above_zero, "Seconds between two rounds of the scrub."
    )
    max_uploads: int = _setting(
        LIMITS,
        "256",
        parse_count,
        "The most uploads above 64 KiB in progress at a time; one address has 3/4 of them at most.",
    )
    upload_expires: float = _setting(
        LIMITS,
        "1d",
        parse_lifetime,
        "How long an upload in several requests is kept while nobody goes on with it.",
        "A number of seconds, or 90s, 15m, 12h, 7d, 2w.",
    )
    max_lists: int = _setting(
        LIMITS,
        "32",
        parse_count,
        "The most pages of the list being made at a time.",
        "The next one gets 503. However many there are, together they take one short step in each "
        "turn of the reactor. A page larger than 1 MiB counts until it is sent. One address may "
        "have three quarters of them.",
    )
    memory_cache: int = _setting(
        LIMITS,
        "32MiB",
        parse_size,
        "Memory for answers to GETs of blobs up to 64 KiB; 0 keeps none.",
        "An answer is kept for at most a minute; then the blob is read and verified again.",
    )
    max_connections: int | None = _setting(
        LIMITS,
        "auto",
        or_auto(parse_count),
        "The most connections at a time; auto is 80 % of the limit of open files, at most 4096.",
    )
    max_uri_size: int = _setting(
        LIMITS, "8KiB", parse_size_above_zero, "The longest request target."
    )
    max_head_size: int = _setting(
        LIMITS,
        "16KiB",
        parse_size_above_zero,
        "The longest request head, all header fields together.",
    )
    max_fields: int = _setting(
        LIMITS,
        "100",
        parse_count,
        "The most header fields in a request.",
        "A list within one field has at most 32 members, which no setting changes. A longer Accept "
        "or Range is ignored; any other longer list is refused with 431.",
    )
    head_timeout: float = _setting(
        PACE, "10", parse_seconds_above_zero, "Seconds for a request head, from its first byte."
    )
    idle_timeout: float = _setting(
        PACE, "75", parse_seconds_above_zero, "Seconds an idle connection is kept."
    )
    first_byte_timeout: float = _setting(
        PACE,
        "10",
        parse_seconds_above_zero,
        "Seconds for the first byte of an upload of known length.",
    )
    body_rate: int = _setting(
        PACE, "1KiB", parse_size, "Bytes a second that an upload must average over its window."
    )
    body_window: float = _setting(
        PACE,
        "30",
        parse_seconds_above_zero,
        "Seconds over which body-rate is measured for an upload of known length.",
    )
    chunked_window: float = _setting(
        PACE,
        "300",
        parse_seconds_above_zero,
        "Seconds over which body-rate is measured for an upload in chunks, and for its first byte.",
        "A program may think before it writes, as in `pg_dump | curl --fail -T - URL`. Without "
        "--fail curl exits with 0 when gostore gives up and answers 408.",
    )
    send_timeout: float = _setting(
        PACE, "60", parse_seconds_above_zero, "Seconds a client may leave a response untaken."
    )
    shutdown_delay: float = _setting(
        PACE,
        "0",
        parse_seconds,
        "Seconds from the signal until the port closes; /readyz answers 503 meanwhile.",
        "A load balancer sees that and sends its requests elsewhere, so none finds the port"
        " closed. Give it a little more than the interval of its checks.",
    )
    shutdown_grace: float = _setting(
        PACE, "10", parse_seconds, "Seconds that uploads in progress get to finish at shutdown."
    )


def _table() -> Mapping[str, Setting]:
    rows = (
        evolve(each.metadata[Setting], name=each.name.replace("_", "-"))
        for each in fields(Settings)
    )
    return {row.name: row for row in rows}


TABLE: Mapping[str, Setting] = _table()
"""Every setting by its name, in the order in which people should read them."""


def groups() -> Iterator[tuple[str, list[Setting]]]:
    """The table by its headings, in order."""
    for heading, rows in groupby(TABLE.values(), key=lambda row: row.group):
        yield heading, list(rows)


def make_settings(values: Mapping[str, object]) -> Settings:
    """Make Settings of parsed values by setting name. A missing one has its default."""
    fields_by_name: dict[str, Any] = {
        name.replace("-", "_"): value for name, value in values.items()
    }
    return Settings(**fields_by_name)
