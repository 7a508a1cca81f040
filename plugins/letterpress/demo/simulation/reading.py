"""What a reader sees in a mail: its kind, what its subject line has, its topic, and where its links lead."""

import re
import unicodedata

import numpy as np

from letterpress.demo.simulation.effects import Message, Subject
from letterpress.demo.simulation.vocabulary import CATEGORIES

_URGENCY = re.compile(
    r"\b(last chance|today|tonight|ends|ending|hurry|going fast|final|only \d+ left)\b", re.IGNORECASE
)
_DISCOUNT = re.compile(r"\d\s?%|[£$€]\s?\d|\b(off|free|sale|save|voucher|discount)\b", re.IGNORECASE)
_KINDS = (
    (Message.BIRTHDAY, re.compile(r"birthday", re.IGNORECASE)),
    (Message.WIN_BACK, re.compile(r"miss(ed)? you|come back|been a while|long time", re.IGNORECASE)),
    (Message.WELCOME, re.compile(r"welcome", re.IGNORECASE)),
    (Message.THANKS, re.compile(r"thank", re.IGNORECASE)),
    (Message.OFFER, _DISCOUNT),
    (Message.RECOMMENDATION, re.compile(r"for you\b|picked|recommend|favourite", re.IGNORECASE)),
)
_PRODUCT = re.compile(r"/p/P(\d+)")
_SHELF = re.compile(r"/c/([a-z]+)", re.IGNORECASE)


def features(subject: str, first_name: str) -> np.ndarray:
    """What a subject line has, by ``effects.Subject``; ``{name}`` in a template is the reader's name."""
    named = first_name and re.search(rf"\b{re.escape(first_name)}\b", subject, re.IGNORECASE)
    found = np.zeros(len(Subject), bool)
    found[Subject.NAME] = bool(named) or "{name}" in subject
    found[Subject.URGENCY] = bool(_URGENCY.search(subject))
    found[Subject.QUESTION] = "?" in subject
    found[Subject.DISCOUNT] = bool(_DISCOUNT.search(subject))
    found[Subject.SYMBOL] = any(unicodedata.category(sign) == "So" for sign in subject)
    return found


def kind(*texts: str) -> Message:
    """What sort of mail it is, by the first of its texts (subject, name of the campaign) that tells."""
    for text in texts:
        for message, pattern in _KINDS:
            if pattern.search(text):
                return message
    return Message.NEWSLETTER


def shelf(subject: str, links: list[str]) -> int:
    """The category that the subject names or the first link leads to; -1 for none."""
    names = [category.name.lower() for category in CATEGORIES]
    for index, name in enumerate(names):
        if re.search(rf"\b{name}\b", subject, re.IGNORECASE):
            return index
    for link in links:
        found = _SHELF.search(link)
        if found and found[1].lower() in names:
            return names.index(found[1].lower())
    return -1


def product(link: str) -> int:
    """The number of the product that a link leads to; -1 for none."""
    found = _PRODUCT.search(link)
    return int(found[1]) - 1 if found else -1
