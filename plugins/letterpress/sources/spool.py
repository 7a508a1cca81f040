"""dlt writes the typed pages of a source to Parquet in a folder that is thrown away afterwards.

dlt keeps nothing from one run to the next: the cursor is in the manifest, pipeline state and schema go with the folder.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from letterpress.sources.errors import SourceError

# Read by dlt from the environment. No telemetry, no handlers of signals, which are Airflow's, no look-ups of secrets
# in Airflow's metadata or a cloud's store, no state; one worker moves files at once, several poll every second.
_SETTINGS = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__INTERCEPT_SIGNALS": "false",
    "RESTORE_FROM_DESTINATION": "false",
    "LOAD__WORKERS": "1",
    "PROVIDERS__ENABLE_AIRFLOW_SECRETS": "false",
    "PROVIDERS__ENABLE_GOOGLE_SECRETS": "false",
}


def spool(source: str, tables: Mapping[str, Callable[[], Iterator[pa.Table]]], folder: Path) -> dict[str, list[Path]]:
    """Run one dlt pipeline whose resources are ``tables``; the Parquet files of each, in no order.

    Raises the ``SourceError`` of a resource as it was, without dlt's wrapping.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import dlt
    from dlt.common.pipeline import LoadInfo
    from dlt.extract.exceptions import DltResourceException
    from dlt.pipeline.exceptions import PipelineStepFailed

    resources = [dlt.resource(rows, name=name, write_disposition="append") for name, rows in tables.items()]

    @dlt.source(name=source, max_table_nesting=0)
    def pages() -> list[dlt.sources.DltResource]:
        return resources

    pipeline = dlt.pipeline(
        pipeline_name=f"letterpress_{source}",
        pipelines_dir=str(folder / "pipelines"),
        destination=dlt.destinations.filesystem(bucket_url=str(folder / "files")),
        dataset_name=source,
    )
    try:
        info: LoadInfo = pipeline.run(pages(), loader_file_format="parquet")
        info.raise_on_failed_jobs()
    except (PipelineStepFailed, DltResourceException) as error:
        if (cause := _cause(error)) is not None:
            raise cause from None
        raise
    finally:
        pipeline.deactivate()
    return {name: sorted((folder / "files" / source / name).glob("*.parquet")) for name in tables}


def _cause(error: BaseException | None) -> SourceError | None:
    while error is not None and not isinstance(error, SourceError):
        error = error.__cause__ or error.__context__ or getattr(error, "exception", None)
    return error
