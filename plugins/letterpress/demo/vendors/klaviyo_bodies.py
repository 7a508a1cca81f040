"""What Klaviyo's requests may hold: names, types and caps. Nothing else is taken, not even a misspelled field."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NoReturn

from letterpress.demo.vendors.standin import Refusal

ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")
Problem = tuple[str, str]  # a pointer, and what is wrong there


@dataclass(frozen=True)
class Text:
    """A string, one of ``options`` where there are any."""

    nullable: bool = True
    options: tuple[str, ...] = ()
    is_datetime: bool = False
    is_date: bool = False

    def problems(self, value: Any, pointer: str) -> Iterator[Problem]:
        """What is wrong with a value."""
        if value is None and self.nullable:
            return
        if not isinstance(value, str):
            yield pointer, f"Expected a string, found {_kind(value)}."
        elif self.options and value not in self.options:
            yield pointer, f"Expected one of {', '.join(self.options)}."
        elif (self.is_datetime and not _parses(datetime, value)) or (self.is_date and not _parses(date, value)):
            yield pointer, "Not a valid date."


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def problems(self, value: Any, pointer: str) -> Iterator[Problem]:
        """What is wrong with a value."""
        if value is not None and not isinstance(value, bool):
            yield pointer, f"Expected a boolean, found {_kind(value)}."


@dataclass(frozen=True)
class Coordinate:
    """A number or a string."""

    def problems(self, value: Any, pointer: str) -> Iterator[Problem]:
        """What is wrong with a value."""
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
            yield pointer, f"Expected a number or a string, found {_kind(value)}."


@dataclass(frozen=True)
class Keys:
    """One name or several."""

    def problems(self, value: Any, pointer: str) -> Iterator[Problem]:
        """What is wrong with a value."""
        values = value if isinstance(value, list) else [] if value is None else [value]
        if any(not isinstance(one, str) for one in values):
            yield pointer, "Expected a string or a list of strings."


@dataclass(frozen=True)
class Free:
    """An object whose names are the customer's own."""

    nullable: bool = True

    def problems(self, value: Any, pointer: str) -> Iterator[Problem]:
        """What is wrong with a value."""
        if not (isinstance(value, dict) or (value is None and self.nullable)):
            yield pointer, f"Expected an object, found {_kind(value)}."


@dataclass(frozen=True)
class Many:
    """A list of at most ``most``."""

    item: Any
    most: int | None = None
    nullable: bool = False

    def problems(self, value: Any, pointer: str) -> Iterator[Problem]:
        """What is wrong with a value."""
        if value is None and self.nullable:
            return
        if not isinstance(value, list):
            yield pointer, f"Expected a list, found {_kind(value)}."
        elif self.most is not None and len(value) > self.most:
            yield pointer, f"Expected at most {self.most} items, found {len(value)}."
        else:
            for position, item in enumerate(value):
                yield from self.item.problems(item, f"{pointer}/{position}")


@dataclass(frozen=True)
class Object:
    """An object with these fields and no other."""

    fields: Mapping[str, Any]
    required: tuple[str, ...] = ()
    nullable: bool = False
    names: frozenset[str] = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "names", frozenset(self.fields))

    def problems(self, value: Any, pointer: str) -> Iterator[Problem]:
        """What is wrong with a value."""
        if value is None and self.nullable:
            return
        if not isinstance(value, dict):
            yield pointer, f"Expected an object, found {_kind(value)}."
            return
        for name in self.required:
            if name not in value:
                yield f"{pointer}/{name}", "This field is required."
        for name, part in value.items():
            if name in self.names:
                yield from self.fields[name].problems(part, f"{pointer}/{name}")
            else:
                yield f"{pointer}/{name}", f"'{name}' is not a valid field for this resource."


def check(body: Any, shape: Object) -> Any:
    """The body's data; raises :class:`Refusal` with every problem and its pointer."""
    problems = list(Object({"data": shape}, required=("data",)).problems(body, ""))
    if problems:
        refuse(problems)
    return body["data"]


def refuse(problems: list[Problem], code: str = "invalid", status: int = 400) -> NoReturn:
    """Raise the refusal of these problems."""
    raise Refusal(status, code, problems[0][1], problems=problems)


def only(*options: str) -> Text:
    """One of these texts, never empty."""
    return Text(nullable=False, options=options)


def resource(kind: str, attributes: Any, **more: Any) -> Object:
    """A resource of JSON:API."""
    return Object({"type": only(kind), "attributes": attributes, **more}, required=("type", "attributes"))


def reference(kind: str) -> Object:
    """A resource by its id."""
    return Object({"type": only(kind), "id": Text(nullable=False)}, required=("type", "id"))


def related(kind: str, *, is_list: bool) -> Object:
    """A relationship to one resource, or to several."""
    return Object({"data": Many(reference(kind)) if is_list else reference(kind)})


def _profiles(item: Any, most: int, *, nullable: bool = False) -> Object:
    return Object({"data": Many(item, most)}, required=("data",), nullable=nullable)


def _channels(consent: Object, *, with_conversational: bool = False) -> dict[str, Object]:
    conversational = {"conversational": consent} if with_conversational else {}
    return {
        "sms": Object({"marketing": consent, "transactional": consent}),
        "whatsapp": Object({"marketing": consent, "transactional": consent, **conversational}),
    }


_TEXTS = ("email", "phone_number", "external_id", "first_name", "last_name", "organization", "locale", "title", "image")
_PLACE = ("address1", "address2", "city", "country", "region", "zip", "timezone", "ip")
_LOCATION = Object(
    {**{name: Text() for name in _PLACE}, "latitude": Coordinate(), "longitude": Coordinate()}, nullable=True
)
_PATCH = Object(
    {
        "patch_properties": Object({"append": Free(), "unappend": Free(), "unset": Keys()}, nullable=True),
        "patch_identifiers": Object({"append": Free(nullable=False), "unappend": Free(nullable=False)}, nullable=True),
    }
)
_ATTRIBUTES = {**{name: Text() for name in _TEXTS}, "location": _LOCATION, "properties": Free()}
PROFILE = resource("profile", Object({**_ATTRIBUTES, "_kx": Text()}), id=Text(), meta=_PATCH)
PROFILE_UPDATE = Object(
    {"type": only("profile"), "id": Text(nullable=False), "attributes": Object(_ATTRIBUTES), "meta": _PATCH},
    required=("type", "id", "attributes"),
)
IMPORT = resource(
    "profile-bulk-import-job",
    Object({"profiles": _profiles(PROFILE, 10_000)}, required=("profiles",)),
    relationships=Object({"lists": related("list", is_list=True)}),
)

_SUBSCRIBED = Object({"consent": only("SUBSCRIBED"), "consented_at": Text(is_datetime=True)}, required=("consent",))
_TRACKED = Object({"consent": only("SUBSCRIBED")}, required=("consent",))
SUBSCRIBE = resource(
    "profile-subscription-bulk-create-job",
    Object(
        {
            "custom_source": Text(),
            "historical_import": Flag(),
            "profiles": _profiles(
                resource(
                    "profile",
                    Object(
                        {
                            "email": Text(),
                            "phone_number": Text(),
                            "age_gated_date_of_birth": Text(is_date=True),
                            "subscriptions": Object(
                                {
                                    "email": Object({"marketing": _SUBSCRIBED, "open_tracking": _TRACKED}),
                                    **_channels(_SUBSCRIBED),
                                }
                            ),
                        },
                        required=("subscriptions",),
                    ),
                    id=Text(),
                ),
                1_000,
            ),
        },
        required=("profiles",),
    ),
    relationships=Object({"list": related("list", is_list=False)}),
)

_UNSUBSCRIBED = Object({"consent": only("UNSUBSCRIBED")}, required=("consent",))
UNSUBSCRIBE = resource(
    "profile-subscription-bulk-delete-job",
    Object(
        {
            "profiles": _profiles(
                resource(
                    "profile",
                    Object(
                        {
                            "email": Text(),
                            "phone_number": Text(),
                            "subscriptions": Object(
                                {
                                    "email": Object({"marketing": _UNSUBSCRIBED, "open_tracking": _UNSUBSCRIBED}),
                                    **_channels(_UNSUBSCRIBED, with_conversational=True),
                                }
                            ),
                        },
                        required=("subscriptions",),
                    ),
                ),
                100,
            )
        },
        required=("profiles",),
    ),
    relationships=Object({"list": related("list", is_list=False)}),
)

SUPPRESS = resource(
    "profile-suppression-bulk-create-job",
    Object(
        {
            "profiles": _profiles(
                resource("profile", Object({"email": Text(nullable=False)}, required=("email",))), 100, nullable=True
            )
        }
    ),
    relationships=Object({"list": related("list", is_list=False), "segment": related("segment", is_list=False)}),
)
MEMBERS = Many(reference("profile"), 1_000)
ERASE = resource(
    "data-privacy-deletion-job",
    Object(
        {
            "profile": Object(
                {"data": resource("profile", Object({"email": Text(), "phone_number": Text()}), id=Text())},
                required=("data",),
            )
        },
        required=("profile",),
    ),
)
MERGE = Object(
    {
        "type": only("profile-merge"),
        "id": Text(nullable=False),
        "relationships": Object({"profiles": related("profile", is_list=True)}, required=("profiles",)),
    },
    required=("type", "id", "relationships"),
)


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def _parses(kind: Any, value: str) -> bool:
    try:
        kind.fromisoformat(value)
    except ValueError:
        return False
    return True
