"""Where everything is and on which port it listens: read from the environment once, frozen, no I/O on import."""

from datetime import datetime
from functools import cache
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

REPOSITORY = Path(__file__).resolve().parents[2]


class Settings(BaseSettings):
    """Every setting is an environment variable ``LETTERPRESS_<NAME>``; folders are URIs without a final slash."""

    model_config = SettingsConfigDict(env_prefix="LETTERPRESS_", frozen=True, extra="forbid", env_ignore_empty=True)

    home: str = Field(default=str(REPOSITORY / ".letterpress"), description="everything that a run writes")
    online_retail: str | None = Field(default=None, description="folder with the Online Retail invoices")
    complete_journey: str | None = Field(default=None, description="folder with the Complete Journey files")
    host: str = Field(default="127.0.0.1", description="where our own services listen")

    airflow_port: int = 8080
    shop_port: int = 8090
    esp_port: int = 8091
    smtp_port: int = 8025
    klaviyo_port: int = 8092

    shop_url: str | None = Field(default=None, description="the demo shop; http://HOST:SHOP_PORT unless given")
    storefront_url: str | None = Field(default=None, description="where links in mails lead; the shop unless given")
    esp_url: str | None = Field(default=None, description="the local ESP; http://HOST:ESP_PORT unless given")
    smtp_host: str | None = Field(default=None, description="the local ESP's SMTP host; HOST unless given")
    esp_token: str | None = Field(default=None, description="the local ESP's key; read from a file unless given")
    klaviyo_url: str | None = Field(default=None, description="Klaviyo; the demo's stand-in unless given")
    klaviyo_key: str | None = Field(
        default=None, repr=False, description="Klaviyo's private key; generated for the stand-in unless given"
    )

    shop_customers: int = Field(default=1_000, gt=0)
    shop_days: int = Field(default=365, gt=0)
    shop_seed: int = 1
    shop_today: datetime = Field(
        default=datetime.fromisoformat("2011-07-01T00:00:00+00:00"),
        description="the shop's clock at the start: the day after the last real invoice, so that both fit together",
    )
    shop_dirt: str = Field(default="on", description="on, off, or a JSON object of rates, see demo/simulation/dirt.py")
    shop_faults: str = Field(default="on", description="on, off, or a JSON object of rates, see demo/shop/faults.py")
    shop_database_url: str | None = Field(
        default=None, repr=False, description="SQLAlchemy URL of the demo shop's order database; SQLite unless given"
    )
    shop_exports_folder: str | None = Field(
        default=None, description="where the demo shop writes its nightly files; HOME/shop/exports unless given"
    )
    shop_webhook_url: str | None = Field(
        default=None, repr=False, description="where the demo shop sends its web events; nowhere unless given"
    )
    shop_webhook_secret: str | None = Field(default=None, repr=False, description="signs the webhooks, as Segment does")
    webhooks: str | None = Field(
        default=None,
        description="destinations that tell by webhook, such as klaviyo hubspot, or mailchimp_uk=mailchimp",
    )
    webhooks_port: int = 8095
    webhooks_url: str | None = Field(default=None, description="where vendors reach the webhook receiver, by HTTPS")
    as_of: datetime | None = Field(
        default=None, description="build as of this instant, not the data interval's or the shop's clock's"
    )
    clock: str = Field(default="shop", pattern="^(shop|interval)$", description="where scheduled runs take as_of")

    stores_url: str | None = Field(default=None, description="SQLAlchemy URL of the operational stores")
    kept_versions: int = Field(default=5, gt=0, description="published versions kept for going back")
    memory_limit: str = Field(default="2GB", description="DuckDB's memory limit")

    @field_validator("home", "online_retail", "complete_journey", "shop_exports_folder")
    @classmethod
    def absolute(cls, value: str | None) -> str | None:
        """A bare path is resolved against the working directory; a URI stays as it is."""
        if value is None or "://" in value:
            return value
        return str(Path(value).expanduser().resolve())

    @field_validator("shop_today", "as_of")
    @classmethod
    def aware(cls, value: datetime | None) -> datetime | None:
        """Instants carry their zone: a naive one would mean another time on another machine."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"expected an instant with its zone such as 2011-07-01T00:00:00Z, found {value}")
        return value

    @property
    def landing(self) -> str:
        """Immutable Parquet of every extraction, and the manifests that make a load exist."""
        return f"{self.home}/landing"

    @property
    def warehouse(self) -> str:
        """The folder of the one DuckDB file that dbt writes, and of its lock."""
        return f"{self.home}/warehouse"

    @property
    def parsed(self) -> str:
        """dbt's project as parsed, for every file that dbt writes."""
        return f"{self.home}/parsed"

    @property
    def published(self) -> str:
        """Read-only versions, one channel for features and one for activation."""
        return f"{self.home}/published"

    @property
    def scores(self) -> str:
        """``<model>/<version>/<as_of>/``."""
        return f"{self.home}/scores"

    @property
    def history(self) -> str:
        """What depends on the path and cannot be derived again from events."""
        return f"{self.home}/history"

    @property
    def registry(self) -> str:
        """Model artefacts by content, and the alias log."""
        return f"{self.home}/registry"

    @property
    def plans(self) -> str:
        """Sync plans, one folder a destination."""
        return f"{self.home}/plans"

    @property
    def docs(self) -> str:
        """Data Docs and dbt docs."""
        return f"{self.home}/docs"

    @property
    def secrets(self) -> str:
        """Generated keys, readable by their owner alone."""
        return f"{self.home}/secrets"

    @property
    def stores(self) -> str:
        """SQLAlchemy URL of ledger and suppression store."""
        return self.stores_url or f"sqlite:///{self.home}/stores/letterpress.sqlite"

    @property
    def shop(self) -> str:
        """Base URL of the demo shop."""
        return self.shop_url or f"http://{self.host}:{self.shop_port}"

    @property
    def shop_database(self) -> str:
        """SQLAlchemy URL of the demo shop's order database."""
        return self.shop_database_url or f"sqlite:///{self.home.removeprefix('file://')}/shop/orders.sqlite"

    @property
    def shop_exports(self) -> str:
        """The folder of the files that the demo shop writes every night."""
        return self.shop_exports_folder or f"{self.home}/shop/exports"

    @property
    def storefront(self) -> str:
        """Base URL of the pages that mails link to."""
        return self.storefront_url or self.shop

    @property
    def esp(self) -> str:
        """Base URL of the local ESP."""
        return self.esp_url or f"http://{self.host}:{self.esp_port}"

    @property
    def klaviyo(self) -> str:
        """Base URL of Klaviyo, or of its stand-in."""
        return self.klaviyo_url or f"http://{self.host}:{self.klaviyo_port}"


@cache
def settings() -> Settings:
    """The settings of this process; ``settings.cache_clear()`` after the environment changed (tests)."""
    return Settings()
