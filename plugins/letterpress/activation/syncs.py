"""What a person sees of a sync: the plan and its result, as text; personal data is in neither."""

from letterpress.activation.apply import ApplyResult
from letterpress.activation.plan import CHANGES, STANDING, Plan


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
