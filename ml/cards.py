"""Model cards (Mitchell et al. 2019): one page of HTML for a version, with all that is known of it and nobody's data.

A card shows what the version was made from, how it did against baselines and champion, its plots, what it goes by,
whom it picks, and what was seen of it since. It stands beside the artefact and needs no server.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml import files

if TYPE_CHECKING:
    from ml.registry import Alias, Training

TEMPLATE = Path(__file__).with_name("card.html.jinja")
INDEX = Path(__file__).with_name("cards.html.jinja")
MOST_INPUTS = 15
REPORTS = 100
"""So many of the latest reports on a model are looked through for what they say of a version."""
COLOURS = ("#1f5fa6", "#c2571a", "#3d7d4c", "#7a4b94", "#8a6d1b", "#4d4d4d", "#a8325e", "#2a8c8c")


def card_uri(registry: str, version: str) -> str:
    """Where the card of a version lies."""
    from ml.registry import CARD

    return files.join(registry, "artefacts", version, CARD)


def write_card(registry: str, version: str, registry_url: str) -> str:
    """Write the card of a version from what the registry knows by now; returns its URI."""
    from ml import registry as versions
    from ml.monitor import reports

    about = versions.metadata(registry, version)
    name = about["model_name"]
    history = versions.history(registry_url, name)
    trainings = [one for one in versions.trainings(registry_url, name) if one.model_version == version]
    seen = [one for one in reports(registry, name, latest=REPORTS) if one["model_version"] == version]
    uri, page = card_uri(registry, version), render(about, history, trainings, seen).encode()
    if not files.exists(uri) or files.read_bytes(uri) != page:
        files.write_bytes(uri, page)
    return uri


def read(registry: str, registry_url: str, version: str) -> str:
    """The card of a version that the registry knows. Raises :class:`RegistryError` where it does not."""
    from ml import registry as versions
    from ml.errors import RegistryError

    if version not in {one.model_version for one in versions.versions(registry_url)}:
        raise RegistryError("no such version; see the list of models")
    try:
        return files.read_bytes(card_uri(registry, version)).decode()
    except FileNotFoundError:
        return files.read_bytes(write_card(registry, version, registry_url)).decode()


def index(registry_url: str, link: str) -> str:
    """All models as a page, each with its versions, the newest first; ``link`` has ``{}`` for the version."""
    import jinja2

    from ml import registry as versions

    serving = {name: alias.model_version for name, alias in versions.aliases(registry_url).items()}
    trained: dict[str, dict[str, Training]] = {}
    for one in versions.trainings(registry_url):
        trained.setdefault(one.model_name, {})[one.model_version] = one
    rows = [
        (name, [(one, serving.get(name) == version, link.format(version)) for version, one in reversed(found.items())])
        for name, found in sorted(trained.items())
    ]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(INDEX.read_text(encoding="utf-8")).render(rows=rows)


def render(
    about: Mapping[str, Any],
    history: Sequence[Alias],
    trainings: Sequence[Training],
    seen: Sequence[Mapping[str, Any]],
) -> str:
    """The page: ``about`` is a version's metadata, ``history`` the model's alias log, ``seen`` the reports on it."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = figure
    serving = history[-1].model_version if history else None
    importance = sorted(about.get("importance", {}).items(), key=lambda one: (-one[1], one[0]))[:MOST_INPUTS]
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        about=about,
        is_serving=serving == about["model_version"],
        history=[one for one in history if about["model_version"] in (one.model_version, one.replaced_version)],
        trainings=trainings,
        metrics=beside_baselines({name: value for name, value in about["metrics"].items() if name != "fallback"}),
        plots=[(curve["title"], plot(curve)) for _, curve in sorted(about.get("curves", {}).items())],
        importance=bars(importance) if importance else None,
        seen=seen[-6:],
    )


def beside_baselines(metrics: Mapping[str, Any]) -> list[tuple[str, Any, list[tuple[str, Any]]]]:
    """Each metric with its baselines: ``rmse_naive`` is what ``rmse`` is of the naive answer."""
    names = sorted(metrics, key=len)
    above = {name: next((one for one in names if name.startswith(f"{one}_")), None) for name in metrics}
    return [
        (
            name.replace("_", " "),
            metrics[name],
            [
                (other.removeprefix(f"{name}_").replace("_", " "), metrics[other])
                for other in metrics
                if above[other] == name
            ],
        )
        for name in metrics
        if above[name] is None
    ]


def figure(value: Any) -> str:
    """A metric as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "not measured"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1_000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def plot(curve: Mapping[str, Any]) -> str:
    """A curve as inline SVG; equal curves give equal text."""
    figure, axes = _axes(curve["title"], (5.2, 3.4))
    if curve.get("diagonal"):
        ends = [value for line in curve["lines"].values() for point in line for value in point]
        low, high = min(ends, default=0), max(ends, default=1)
        axes.plot([low, high], [low, high], color="#bbbbbb", linewidth=1, linestyle="--")
    for colour, (name, line) in zip(COLOURS * 3, curve["lines"].items(), strict=False):
        marker = "o" if len(line) <= 25 else None
        axes.plot([x for x, _ in line], [y for _, y in line], color=colour, label=name, marker=marker, markersize=3)
    axes.set_xlabel(curve["x_label"])
    axes.set_ylabel(curve["y_label"])
    if len(curve["lines"]) > 1 or curve.get("diagonal"):
        axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def bars(shares: Sequence[tuple[str, float]]) -> str:
    """Shares by name as horizontal bars, inline SVG."""
    figure, axes = _axes("What it goes by", (5.2, 0.6 + 0.26 * len(shares)))
    names, values = [name for name, _ in shares][::-1], [value for _, value in shares][::-1]
    axes.barh(names, values, color=COLOURS[0])
    axes.set_xlabel("share of the decision")
    return _svg(figure)


def _axes(title: str, size: tuple[float, float]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=10, loc="left")
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _svg(figure: Any) -> str:
    import matplotlib as mpl

    sink = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "letterpress", "svg.fonttype": "none"}):
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    text = sink.getvalue()
    return text[text.index("<svg") :]
