"""``sources.yml`` as frozen models that refuse unknown keys."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError, field_validator

from letterpress.settings import Settings, settings
from letterpress.sources.options import FileOptions, Options
from letterpress.yaml_loader import LOADER

if TYPE_CHECKING:
    from types import ModuleType

    from letterpress.sources.entities import Entity

SOURCES_FILE = Path(__file__).with_name("sources.yml")
_CRON_FIELD = re.compile(r"^[0-9*/,\-A-Za-z]+$")


class Connection(BaseModel):
    """Where a source is and what opens it: a base URL, a folder of files, or a database's URL without its password."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    token: SecretStr | None = None


class Retry(BaseModel):
    """How often a page is asked for, and how long we wait in between."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: int = Field(default=6, ge=1, description="of one page, before the source counts as unavailable")
    backoff_seconds: float = Field(default=1.0, ge=0, description="first wait; doubles with every attempt")
    longest_wait_seconds: float = Field(default=900.0, gt=0, description="what a Retry-After may ask at most")
    timeout_seconds: float = Field(default=60.0, gt=0, description="of one request")


class Source(BaseModel):
    """One block of ``sources.yml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    description: str
    module: str = Field(pattern="^[a-z][a-z0-9_]*$", description="a module of letterpress.sources")
    connection: str = Field(description="the Airflow Connection that says where the source is")
    entities: tuple[str, ...] = Field(min_length=1)
    schedule: str = Field(description="cron, in UTC")
    overlap: timedelta = Field(default=timedelta(0), description="read again before the cursor, for late rows")
    page_size: int = Field(default=1_000, gt=0)
    enabled: bool = Field(default=True, description="off: no DAG, and the warehouse sees an empty source")
    enabled_by: str | None = Field(default=None, description="the setting without which the source is off")
    retry: Retry = Retry()
    options: Annotated[Options, Field(discriminator="reader")] | None = Field(
        default=None, description="how the rows are read, where it is not the module's own way"
    )

    @field_validator("schedule")
    @classmethod
    def cron(cls, value: str) -> str:
        """Five fields, or what Airflow calls by name."""
        fields = value.split()
        named = value in ("@hourly", "@daily", "@weekly", "@monthly")
        if not named and not (len(fields) == 5 and all(_CRON_FIELD.match(field) for field in fields)):
            raise ValueError(f"expected a cron expression of five fields, found {value!r}")
        return value

    @field_validator("overlap")
    @classmethod
    def not_negative(cls, value: timedelta) -> timedelta:
        """A negative overlap would skip rows."""
        if value < timedelta(0):
            raise ValueError(f"expected an overlap of zero or more, found {value}")
        return value

    @field_validator("enabled_by")
    @classmethod
    def a_setting(cls, value: str | None) -> str | None:
        """Only a setting can switch a source on."""
        if value is not None and value not in Settings.model_fields:
            raise ValueError(f"expected the name of a setting, found {value!r}")
        return value

    def is_enabled(self, settings: Settings) -> bool:
        """Whether it is switched on, and the setting it waits for, if any, is given."""
        is_given = self.enabled_by is None or getattr(settings, self.enabled_by) not in (None, "", False)
        return self.enabled and is_given

    def load_module(self) -> ModuleType:
        """The module that declares the entities."""
        from importlib import import_module

        return import_module(f"letterpress.sources.{self.module}")

    def load_reader(self) -> ModuleType:
        """The module whose ``pages`` reads the rows: the one that the options name, else the source's own."""
        from importlib import import_module

        return import_module(f"letterpress.sources.{self.options.reader if self.options else self.module}")

    def declared(self) -> tuple[Entity, ...]:
        """The entities, as the module declares them; ``ValueError`` where block and module disagree.

        Files tell what is new by their listing and not by a column, whatever the entity's cursor is elsewhere.
        """
        module = self.load_module()
        known = {entity.name: entity for entity in module.ENTITIES.get(self.name, ())}
        if unknown := [name for name in self.entities if name not in known]:
            raise ValueError(
                f"{SOURCES_FILE.name}: {self.name}.entities: expected some of {sorted(known)} (what ENTITIES in "
                f"{self.module}.py declares), found {unknown}; next step: declare them there or remove them here"
            )
        found = [known[name] for name in self.entities]
        return tuple(replace(one, cursor=None) if isinstance(self.options, FileOptions) else one for one in found)


def load_sources(
    *, include_disabled: bool = False, path: Path = SOURCES_FILE, settings_: Settings | None = None
) -> dict[str, Source]:
    """The sources by name, in the file's order: those that are enabled, or all.

    Raises ``ValueError`` naming file, source and field where a block is not right.
    """
    import yaml

    try:
        content = yaml.load(path.read_text("utf-8"), Loader=LOADER)
        blocks = TypeAdapter(dict[str, dict[str, Any]]).validate_python(content)
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name}: expected YAML, found {error}; next step: correct the file") from None
    except ValidationError as error:
        raise ValueError(f"{path.name}: {_faults(error)}; next step: correct the file") from None
    current = settings_ or settings()
    sources = {name: _source(path, name, block) for name, block in blocks.items()}
    return {name: item for name, item in sources.items() if include_disabled or item.is_enabled(current)}


def _source(path: Path, name: str, block: dict[str, Any]) -> Source:
    try:
        return Source.model_validate({**block, "name": name})
    except ValidationError as error:
        raise ValueError(f"{path.name}: {_faults(error, name)}; next step: correct the file") from None


def _faults(error: ValidationError, *within: str) -> str:
    """Each fault as ``source.field: what is wrong``, without the value that was found there."""
    return "; ".join(f"{'.'.join(map(str, (*within, *fault['loc'])))}: {fault['msg']}" for fault in error.errors())
