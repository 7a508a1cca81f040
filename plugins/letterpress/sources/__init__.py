"""Extraction: one module a source kind, configured in ``sources.yml``, landed as immutable Parquet with manifests.

``sources.yml`` says which sources there are, ``extract.extract`` reads one of them and leaves a pending load,
``landing.commit`` makes the load exist after its audit (or ``landing.reject`` keeps it out).

To add a source: one module with ``ENTITIES`` (see ``demo_shop``), one block in ``sources.yml`` that says how it is
read (``rest``, ``sql``, ``files``, or ``pages`` of its own), one staging folder in ``dbt_project``.
"""

from letterpress.sources.config import Connection, Source, load_sources

__all__ = ["Connection", "Source", "load_sources"]
