"""The rows of the shop's API as its OpenAPI description tells them; they are served as stored, not built here."""

from datetime import date, datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Customer(_Row):
    """An account in the CRM, overwritten when it changes; two accounts may belong to one person."""

    customer_id: str = Field(examples=["C000001"])
    email: str | None = Field(description="as typed: blanks, mixed case and mistakes are kept")
    phone: str | None
    first_name: str
    last_name: str
    birth_date: date | None
    country_code: str = Field(description="ISO 3166-1 alpha-2", examples=["GB"])
    time_zone: str = Field(description="IANA name", examples=["Europe/London"])
    preferences: list[str] = Field(description="categories that the customer asked to hear about")
    loyalty_tier: Literal["none", "bronze", "silver", "gold"]
    signed_up_at: datetime
    updated_at: datetime


class Consent(_Row):
    """A record of consent given or withdrawn; records are only added."""

    consent_id: str = Field(examples=["K0000001"])
    customer_id: str
    channel: Literal["email"]
    status: Literal["granted", "withdrawn"]
    source: Literal["sign_up_form", "checkout", "preference_centre", "unsubscribe_link"]
    wording_version: str
    proof: str = Field(description="an opaque reference to the stored proof")
    recorded_at: datetime


class Product(_Row):
    """A product with today's price and the stock of the last nightly count."""

    product_id: str = Field(examples=["P0001"])
    name: str
    description: str
    category: str
    price: float
    currency: str
    stock_quantity: int
    created_at: datetime
    updated_at: datetime


class Order(_Row):
    """An order as it stands now: total = lines + shipping − discount."""

    order_id: str = Field(examples=["O000001"])
    customer_id: str | None = Field(description="null for a guest")
    email: str | None
    status: Literal["placed", "shipped", "delivered", "cancelled", "refunded", "partially_refunded"]
    currency: str
    discount_amount: float
    shipping_amount: float
    total_amount: float
    ordered_at: datetime
    updated_at: datetime


class OrderLine(_Row):
    """One product of an order: line amount = quantity × unit price."""

    order_line_id: str = Field(examples=["L0000001"])
    order_id: str
    product_id: str
    quantity: int
    unit_price: float
    line_amount: float
    updated_at: datetime


class Refund(_Row):
    """Money given back for an order, never more than its total."""

    refund_id: str = Field(examples=["R000001"])
    order_id: str
    amount: float
    reason: str
    refunded_at: datetime
    updated_at: datetime


class PageContext(_Row):
    """The page an event happened on."""

    url: str
    path: str
    referrer: str
    title: str


class CampaignContext(_Row):
    """The utm parameters of a landing page."""

    source: str
    medium: str
    name: str


class EventContext(_Row):
    """What the tracker knows besides the event."""

    page: PageContext
    userAgent: str
    locale: str
    timezone: str
    campaign: CampaignContext | None = Field(description="on the landing page of a visit that somebody paid for")


class Event(_Row):
    """A web event in the Segment specification's vocabulary; ``receivedAt`` may be days after ``timestamp``."""

    messageId: str
    type: Literal["page", "track", "identify"]
    event: Literal["Product Viewed", "Product Added", "Cart Viewed", "Checkout Started", "Order Completed"] | None = (
        Field(description="null for page and identify calls")
    )
    anonymousId: str
    userId: str | None = Field(description="the customer_id once the visitor has signed up or logged in")
    timestamp: datetime
    receivedAt: datetime
    properties: dict[str, Any]
    context: EventContext


class EmailEvent(_Row):
    """Something that happened to a message that the shop sent."""

    event_id: str
    message_id: str
    campaign_id: str
    campaign_name: str
    subject: str | None
    customer_id: str
    email: str
    event_type: Literal["sent", "delivered", "open", "click", "bounce", "unsubscribe", "complaint"]
    bounce_type: Literal["hard", "soft"] | None
    is_machine_open: bool = Field(description="true where a mail programme, not a person, fetched the pixel")
    url: str | None = Field(description="of a click")
    occurred_at: datetime
    received_at: datetime


RowType = TypeVar("RowType", bound=_Row)


class Rows(BaseModel, Generic[RowType]):
    """A page of rows in the order of cursor field and key."""

    data: list[RowType]
    next_cursor: str | None = Field(description="for the next page; null on the last one")


class Clock(BaseModel):
    """The shop's time: nothing in the API is later."""

    now: datetime


class Advance(BaseModel):
    """How far to move the clock: days or hours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: int = Field(default=0, ge=0, le=3660)
    hours: int = Field(default=0, ge=0, le=24 * 366)
