"""Exports stored vectors to files that other programs read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harvester.dataset.export_parts import (
    ExportedFile,
    ExportListener,
    ExportOptions,
    write_rows,
    writing_to,
)
from harvester.dataset.record_files import batch_rows, finished, require_libraries
from harvester.dataset.spaces import only_space
from harvester.records.contents import FileKind

if TYPE_CHECKING:
    from typing import BinaryIO

    from harvester.domain.results.result_filter import ResultFilter
    from harvester.ports.stored_results import StoredResults


def export(results: StoredResults, options: ExportOptions, listener: ExportListener) -> list[ExportedFile]:
    """Write the vectors to a file or a folder, which is complete or not there; return the files that were written.

    Raises UsageError for a target or a filter that cannot be used, or a missing library; MachineError where the target
    cannot be written; StoreError. Nothing is left at the target then, or what was there.
    """
    kind = options.kind
    require_libraries(kind or FileKind.PARQUET)
    # Both load numpy, which is not needed to report a missing library.
    with writing_to(options.target):
        if kind is None:
            from harvester.dataset.partitions import export_to_folder  # noqa: PLC0415

            return export_to_folder(results, options, listener)
        from harvester.dataset.single_file import export_to_file  # noqa: PLC0415

        return export_to_file(results, options, kind, listener)


def export_to_stream(
    results: StoredResults, wanted: ResultFilter, stream: BinaryIO, listener: ExportListener
) -> tuple[int, int]:
    """Write JSON lines to an open stream; return how many, and of how many tasks.

    Raises UsageError for a filter that cannot be used, OSError, StoreError.
    """
    space, count = only_space(results, wanted)
    listener.begin(count, "vectors")
    from harvester.records.json_lines import JsonLinesWriter  # noqa: PLC0415  # numpy

    writer = JsonLinesWriter(stream)
    with finished(writer):
        return write_rows(results.vectors(wanted, space, batch_rows=batch_rows(space.dim)), writer, listener)
