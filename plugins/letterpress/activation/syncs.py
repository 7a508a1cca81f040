"""What a person sees of syncs: plan and result as text and as pages; personal data is in neither."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from letterpress import storage
from letterpress.activation import ledger, stores
from letterpress.activation.apply import ApplyResult, result_of
from letterpress.activation.plan import CHANGES, OPERATIONS, STANDING, Plan, read_plan

INDEX = Path(__file__).with_name("syncs.html.jinja")
PAGE = Path(__file__).with_name("sync.html.jinja")
SHOWN = 20  # plans of each destination in the index
LETTERS = 20  # refused rows of each code on a page


class NoSuchPlan(LookupError):
    """A plan that is not there (any more)."""


def plans_of(plans: str, destination: str) -> list[str]:
    """The URIs of a destination's plans, the newest first."""
    folder = storage.join(plans, destination)
    found = [name for name in storage.names(folder) if name.endswith(".json") and not name.endswith(".result.json")]
    uris = [storage.join(folder, name) for name in found]
    return sorted(uris, key=storage.modified_at, reverse=True)


def latest(plans: str, destination: str) -> tuple[Plan, ApplyResult | None] | None:
    """The newest plan and what became of it; none before the first."""
    uris = plans_of(plans, destination)
    if not uris:
        return None
    plan = read_plan(uris[0])
    return plan, result_of(plan)


def index(plans: str, stores_url: str, destinations: Sequence[str], *, link: str) -> str:
    """A page with every destination: the ledger in numbers, and its latest plans; ``link`` is a pattern of two."""
    rows = []
    for name in destinations:
        found = []
        for uri in plans_of(plans, name)[:SHOWN]:
            plan = read_plan(uri)
            found.append((plan, result_of(plan), link.format(name, plan.plan_id)))
        rows.append((name, ledger.summary(stores_url, destination=name), found))
    return _render(INDEX, rows=rows, changes=CHANGES)


def page(plans: str, stores_url: str, destination: str, plan_id: str) -> str:
    """One plan: what it does and why not, what became of it, what was refused, time beside the vendor's limit.

    Raises NoSuchPlan.
    """
    uri = storage.join(plans, destination, f"{plan_id}.json")
    if not plan_id.isalnum() or not destination.isidentifier() or not storage.exists(uri):
        raise NoSuchPlan(f"{destination}: no plan {plan_id[:20]}; see the list of syncs")
    plan = read_plan(uri)
    with stores.opened(stores_url) as engine, stores.reading(engine) as connection:
        letters = ledger.dead_letters(connection, destination)
    return _render(
        PAGE,
        plan=plan,
        result=result_of(plan),
        actions=[(action, OPERATIONS[action], plan.counts[action]) for action in CHANGES if plan.counts[action]],
        standing=[(action, plan.counts[action]) for action in STANDING if plan.counts[action]],
        refusals=_by_code(letters),
        least=max(plan.least_seconds.values(), default=0.0),
    )


def _by_code(letters: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, list[Mapping[str, Any]]]]:
    """Refused rows by the vendor's code, the most first, a few of each with a shortened id."""
    codes: dict[str, list[Mapping[str, Any]]] = {}
    for letter in letters:
        shown = {**letter, "customer": f"{letter['customer_id'][:6]}…"}
        codes.setdefault(letter["error_code"] or "unknown", []).append(shown)
    return [
        (code, len(found), found[:LETTERS]) for code, found in sorted(codes.items(), key=lambda item: -len(item[1]))
    ]


def _render(template: Path, **values: Any) -> str:
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = lambda value: f"{value:,}"
    return environment.from_string(template.read_text(encoding="utf-8")).render(**values)


def render(plan: Plan, result: ApplyResult | None = None) -> str:
    """Numbers, reasons, changed attributes, requests with their least time, and examples without any value."""
    lines = [
        f"Plan {plan.plan_id} for {plan.destination}, from version {plan.version}",
        f"  {plan.people:,} people in the audience, {plan.eligible:,} may be written to, {plan.held:,} held by the "
        "destination",
        "",
    ]
    lines += [f"  {action:<10} {plan.counts[action]:>9,}" for action in (*CHANGES, *STANDING) if plan.counts[action]]
    lines.append(f"  {'refused':<10} {sum(plan.refused.values()):>9,}")
    lines += [f"    {reason:<20} {number:>9,}" for reason, number in sorted(plan.refused.items())]
    if plan.changed_attributes:
        lines += ["", "  Changed in updates:"]
        lines += [f"    {name:<24} {number:>9,}" for name, number in plan.changed_attributes.items()]
    if plan.lists:
        lines += ["", "  Lists:"]
        lines += [
            f"    {name:<24} {found.get('join', 0):>9,} join {found.get('leave', 0):>9,} leave"
            for name, found in plan.lists.items()
        ]
    if plan.calls:
        lines += ["", f"  {'Requests':<14} {'about':>9} {'at least':>12}"]
        lines += [
            f"    {operation:<12} {number:>9,} {plan.least_seconds.get(operation, 0):>10,.0f} s"
            for operation, number in plan.calls.items()
        ]
    if plan.examples:
        lines += ["", "  Examples:"]
        for example in plan.examples:
            changed = ", ".join(example["changed"])
            lines.append(f"    {example['action']:<9} {example['customer']}{': ' + changed if changed else ''}")
    if not plan.changes:
        lines += ["", "  Nothing to send."]
    if result is not None:
        lines += ["", *_outcome(plan, result)]
    return "\n".join(lines) + "\n"


def _outcome(plan: Plan, result: ApplyResult) -> list[str]:
    least = max(plan.least_seconds.values(), default=0.0)
    lines = [
        f"  {result.accepted:,} accepted in {result.requests:,} requests and {result.seconds:,.1f} s"
        f" (the vendor's limits leave {least:,.0f} s at least)"
    ]
    lines += [f"    rejected: {code:<20} {number:>9,}" for code, number in result.rejected.items()]
    lines += [f"    not sent: {reason:<20} {number:>9,}" for reason, number in result.skipped.items()]
    if result.outstanding:
        lines.append(f"    {result.outstanding:,} requests are still worked on there")
    return lines
