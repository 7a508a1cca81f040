"""Names for clusters, from what distinguishes each of them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

DISTINCT = 0.5
"""A cluster's mean this many standard deviations from everybody's is a trait."""

STRONG = 1.0
"""And this many a strong one."""

WORDS = {
    "recency_days": ("a recent order", "no recent order"),
    "frequency": ("fewer orders", "more orders"),
    "monetary": ("lower spend", "higher spend"),
    "average_order_value": ("small baskets", "large baskets"),
    "tenure_days": ("a short history", "a long history"),
    "purchase_interval_days_mean": ("short gaps between orders", "long gaps between orders"),
    "distinct_products": ("few products", "many products"),
    "distinct_categories": ("one taste", "many tastes"),
    "refund_rate": ("few returns", "many returns"),
    "web_sessions_30d": ("few visits", "many visits"),
    "product_views_30d": ("little browsing", "much browsing"),
    "carts_30d": ("few carts", "many carts"),
    "emails_opened_90d": ("few opens", "many opens"),
    "emails_clicked_90d": ("few clicks", "many clicks"),
}
"""Feature → how to say that it is low, and that it is high, after "with"."""


CLAIMS = {
    "lapsed": ("recency_days", DISTINCT),
    "recent": ("recency_days", -DISTINCT),
    "new": ("tenure_days", -DISTINCT),
    "loyal": ("frequency", STRONG),
    "frequent": ("frequency", DISTINCT),
    "occasional": ("frequency", -DISTINCT),
    "high spenders": ("monetary", DISTINCT),
    "low spenders": ("monetary", -DISTINCT),
}
"""What the words of a name claim: the feature, and from where on, in standard deviations (negative: down from)."""

SLACK = 0.5
"""A name that a cluster has already holds while this share of what it claims is there, so that it does not flicker."""


@dataclass(frozen=True)
class Profile:
    """What is known of one cluster: mean z-scores by feature, and whether most of it bought exactly once."""

    z: Mapping[str, float]
    is_one_time: bool


def name_clusters(profiles: Sequence[Profile], before: Mapping[int, str] | None = None) -> list[str]:
    """One readable name for each cluster, no two alike.

    The name says when they bought, how often and how much, as far as that sets them apart ("Lapsed one-time
    buyers", "Loyal high spenders"). Clusters that would share a name get the trait added in which they differ
    most; clusters without any difference are numbered. ``before``: index → the name that a cluster had so far; it
    keeps it while it is true, whatever the others are called.
    """
    before = before or {}
    kept = {index: name for index, name in before.items() if _holds(name, profiles[index])}
    bases = [_base(kept[index]) if index in kept else _name(profile) for index, profile in enumerate(profiles)]
    kept = {index: name for index, name in kept.items() if _tells_apart(index, name, bases, profiles)}
    names = [kept.get(index) or _name(profile) for index, profile in enumerate(profiles)]
    for _ in range(2):
        names = _tell_apart(names, profiles, kept)
    used = set(kept.values())
    result = []
    for index, name in enumerate(names):
        unique, number = name, 1
        while index not in kept and unique in used:
            number += 1
            unique = f"{name} {number}"
        used.add(unique)
        result.append(unique)
    return result


def _holds(name: str, profile: Profile) -> bool:
    """Whether what a name says of when, how often and how much is still true of the cluster, with some slack."""
    base = _base(name)
    if ("one-time" in base.lower()) != profile.is_one_time:
        return False
    claims = _claims(base)
    if not claims and not profile.is_one_time:
        return all(abs(profile.z.get(feature, 0.0)) < STRONG for feature, _ in CLAIMS.values())
    return all(profile.z.get(feature, 0.0) * bar >= SLACK * bar * bar for feature, bar in claims)


def _tells_apart(index: int, name: str, bases: Sequence[str], profiles: Sequence[Profile]) -> bool:
    """Whether "with small baskets" and the like is still true: against those of the same base, or everybody."""
    traits = name.partition(" with ")[2]
    for trait in re.sub(r" \d+$", "", traits).split(" and ") if traits else ():
        for feature, z in profiles[index].z.items():
            low, high = _words(feature)
            alike = [profiles[other].z[feature] for other, base in enumerate(bases) if base == bases[index]]
            middle = sum(alike) / len(alike) if len(alike) > 1 else 0.0
            if (trait == high and z <= middle) or (trait == low and z > middle):
                return False
    return True


def _base(name: str) -> str:
    return re.sub(r" \d+$", "", name.partition(" with ")[0])


def _claims(base: str) -> list[tuple[str, float]]:
    return [claim for words, claim in CLAIMS.items() if re.search(rf"\b{words}\b", base.lower())]


def _name(profile: Profile) -> str:
    def z(feature: str) -> float:
        return profile.z.get(feature, 0.0)

    often = ""
    if profile.is_one_time:
        often = "one-time"
    elif z("frequency") >= DISTINCT:
        often = "loyal" if z("frequency") >= STRONG else "frequent"
    elif z("frequency") <= -DISTINCT:
        often = "occasional"
    when = ""
    if z("recency_days") >= DISTINCT:
        when = "lapsed"
    elif z("tenure_days") <= -DISTINCT:
        when = "new"
    elif z("recency_days") <= -DISTINCT and often != "loyal":
        when = "recent"
    who = "buyers"
    if z("monetary") >= DISTINCT:
        who = "high spenders"
    elif z("monetary") <= -DISTINCT and not profile.is_one_time:
        who = "low spenders"
    words = " ".join(word for word in (when, often, who) if word)
    return "Typical buyers" if words == "buyers" else words.capitalize()


def _tell_apart(names: list[str], profiles: Sequence[Profile], kept: Collection[int]) -> list[str]:
    alike = defaultdict(list)
    for index, name in enumerate(names):
        alike[name].append(index)
    result = list(names)
    for name, members in alike.items():
        if len(members) < 2:
            continue
        features = sorted(profiles[members[0]].z)
        spread = {
            feature: max(profiles[i].z[feature] for i in members) - min(profiles[i].z[feature] for i in members)
            for feature in features
        }
        unused = [f for f in features if not any(word in name for word in _words(f))]
        if not unused:
            continue
        claimed = {feature for feature, _ in _claims(_base(name))}
        telling = [f for f in unused if f not in claimed and spread[f] >= DISTINCT] or unused
        feature = max(telling, key=lambda f: (spread[f], f))
        if spread[feature] < 1e-9:
            continue
        middle = sum(profiles[i].z[feature] for i in members) / len(members)
        low, high = _words(feature)
        for index in set(members) - set(kept):
            word = high if profiles[index].z[feature] > middle else low
            result[index] = f"{name} {'and' if ' with ' in name else 'with'} {word}"
    return result


def _words(feature: str) -> tuple[str, str]:
    plain = feature.replace("_", " ")
    return WORDS.get(feature, (f"low {plain}", f"high {plain}"))
