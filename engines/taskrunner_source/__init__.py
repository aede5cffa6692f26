"""The files of a run, for every engine: from a commit of a git repository, or from an archive."""

from taskrunner_source.archive_file import ArchiveFile
from taskrunner_source.archive_origin import open_archive
from taskrunner_source.fetched import FetchedSource, Provenance
from taskrunner_source.queue_file import open_queue_file
from taskrunner_source.source import checkout, fetch_source

__all__ = ["ArchiveFile", "FetchedSource", "Provenance", "checkout", "fetch_source", "open_archive", "open_queue_file"]
