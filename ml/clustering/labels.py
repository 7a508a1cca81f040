"""Names for clusters, from what distinguishes each of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True)
class Profile:
    """What is known of one cluster: mean z-scores by feature, and whether most of it bought exactly once."""

    z: Mapping[str, float]
    is_one_time: bool


def name_clusters(profiles: Sequence[Profile]) -> list[str]:
    """One readable name for each cluster, no two alike.

    The name says when they bought, how often and how much, as far as that sets them apart ("Lapsed one-time
    buyers", "Loyal high spenders"). Clusters that would share a name get the trait added in which they differ
    most; clusters without any difference are numbered.
    """
    names = [_name(profile) for profile in profiles]
    for _ in range(2):
        names = _tell_apart(names, profiles)
    seen: dict[str, int] = defaultdict(int)
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return result


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


def _tell_apart(names: list[str], profiles: Sequence[Profile]) -> list[str]:
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
        feature = max(unused, key=lambda f: (spread[f], f))
        if spread[feature] < 1e-9:
            continue
        middle = sum(profiles[i].z[feature] for i in members) / len(members)
        low, high = _words(feature)
        for index in members:
            word = high if profiles[index].z[feature] > middle else low
            result[index] = f"{name} {'and' if ' with ' in name else 'with'} {word}"
    return result


def _words(feature: str) -> tuple[str, str]:
    plain = feature.replace("_", " ")
    return WORDS.get(feature, (f"low {plain}", f"high {plain}"))
