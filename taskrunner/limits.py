"""The limits that several parts of the worker must agree on: one number or one pattern each.

A pattern stands for a whole text (`re.fullmatch`). A hint says what to write instead. A limit that only one
part keeps stands in that part.
"""

from __future__ import annotations

from datetime import UTC, datetime

# ---- names ----------------------------------------------------------------------------------------------

ID_PATTERN = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}"
"""A task's id: the name of a folder, and a part of URLs and labels. Taskcluster's slugids may begin with `_` or `-`."""

ID_HINT = "use up to 128 letters, digits, `.`, `_` and `-`, and do not begin with `.`"

CACHE_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
"""The name of a cache: the name of a folder. A leading `.` would hide it, and `-` would make it an option of programs.
"""

CACHE_HINT = "use up to 128 letters, digits, `.`, `_` and `-`, and begin with none of `.` and `-`"

SECRET_PATTERN = r"[A-Za-z0-9._-]{1,128}"  # noqa: S105  the form of a name, not a secret
"""The name of a secret, in the configuration and where a task refers to it."""

SECRET_HINT = "use up to 128 letters, digits, `.`, `_` and `-` in the name of a secret"  # noqa: S105  as above

HOST_PATTERN = r"(?!localhost$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""The name by which a run reaches a service or a proxy: one label of a host name (RFC 1123), in lower case."""

HOST_HINT = "use up to 63 lower-case letters, digits and `-`, and another name than localhost: db"

ENV_PATTERN = r"[A-Za-z_][A-Za-z0-9_]*"
"""The name of an environment variable by POSIX (XBD 8.1), in both cases. POSIX shells drop other names silently."""

ENV_HINT = "a name has letters, digits and `_`, and begins with no digit"

PRINTABLE = r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]"
"""A character of a name or a path: no control character (C0, DEL, C1), since names are shown in terminals, headers and
logs, and no half of a surrogate pair, which UTF-8 cannot hold."""

LONGEST_NAME = 200
"""Characters of the name of a task, which is for people. What makes a task out of somebody else's words cuts them."""

ARTIFACT_PATTERN = rf"(?!(?:.*/)?\.{{0,2}}(?:/|$)){PRINTABLE}{{1,1024}}"
"""The name of an artifact: relative, with no empty part, `.` or `..`. 1024 is the longest key of S3, in bytes."""

ARTIFACT_HINT = "write a relative name without `..`: public/report.xml"

REPOSITORY_PATTERN = (
    r"(?:(?:(?:https?|git|ssh)://(?:[^\x00-\x20\x7f/@:?#]+@)?)?(?:[A-Za-z0-9.*-]+|\[[0-9A-Fa-f:.*]+\])(?::(?:\d+|\*))?"
    r"(?:/[^\x00-\x20\x7f?#]*)?"
    r"|[^\x00-\x20\x7f/@:]+@[A-Za-z0-9.*-]+:[^\x00-\x20\x7f]*"
    r"|(?:file://)?/[^\x00-\x1f\x7f]*)"
)
"""A rule for repositories, as `taskrunner.schema.repositories` describes it."""

REPOSITORY_HINT = (
    "write a host (git.example.com), the begin of a URL (https://git.example.com/team, ssh://git@git.example.com), "
    "or a folder of the worker's machine (/srv/git); `*` stands for any part"
)


def service_log_name(service: str) -> str:
    """The artifact that holds the log of a service."""
    return f"services/{service}.log"


# ---- tasks ----------------------------------------------------------------------------------------------

MAX_DOCUMENT = 1 << 20
"""Bytes of a task, as it was written and as JSON. Taskcluster and SQS take no more than 1 MiB either."""

DOCUMENT_HINT = "let the task fetch its data"

MAX_RETRIES = 49
"""Taskcluster's limit. A task that was lost so often is not lost by chance."""

MIN_PRIORITY, MAX_PRIORITY = -100, 100
"""Wide enough for the seven levels of Taskcluster, with room between them."""

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""Times of day that a queue can keep: between these, seconds since 1970 turn back into the same time."""

TIME_HINT = "write it as in 2030-01-31T12:00:00Z"

MAX_STEPS = 100
"""Of one task: its resolution describes each of them."""

MAX_STEP_FILE = 64 << 10
"""Bytes of the outputs, and of the variables, that one step writes. Linux gives one variable 128 KiB (MAX_ARG_STRLEN).
"""

MAX_ARTIFACT_SIZE = 10 << 30
"""Bytes of one artifact, unless the worker's configuration says otherwise: what is sent at 3 MB/s in the hour that an
upload may take."""

PEER_PATIENCE = 30.0
"""Seconds for which a peer that waits for a run may take nothing once the run has ended: neither log, artifacts nor its
answer. Then it is given up. A connection that is alive and stands still for longer has a reader that is not."""

# ---- workers --------------------------------------------------------------------------------------------

WORKER_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""The name of a worker: a part of file names, labels and claims. The ids of machines in clouds, and host names, are of
this form."""

WORKER_HINT = "use up to 64 letters, digits, `.`, `_` and `-`, and begin with a letter or digit"

MAX_CAPACITY = 1000
"""Runs at a time. Beyond it, one loop and one machine are the wrong place: start more workers."""
