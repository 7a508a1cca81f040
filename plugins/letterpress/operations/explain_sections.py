"""The parts of an explanation, each one function: a published version and a person in, rows out.

A part opens with its title. Where a version lacks a table that a part reads, the part says so, and the page goes on.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from letterpress.operations.explain import Person, Section, Source, limited

if TYPE_CHECKING:
    from letterpress.warehouse.segments import Answer

MOST_ROWS = 40
# Of a model's inputs, those at which so small a share of the people stands further out are what strikes.
STRIKING_SHARE = 0.2
QUINTILES = (1, 2, 3, 4, 5)
# A model that is fitted on the orders themselves knows of a person when, how often and for how much.
OF_ORDERS = ("recency_days", "frequency", "average_order_value")


def profile(source: Source, person: Person) -> Section:
    """The profile."""
    columns, rows = source.table("marts.dim_customers", "customer_id = ?", person.customer_id)
    [row] = rows
    pairs = [(name, value) for name, value in zip(columns, row, strict=True) if source.may_tell(name, value)]
    known = tuple((name, value) for name, value in pairs if value is not None)
    unknown = [name for name, value in pairs if value is None]
    notes = (f"Not known: {', '.join(unknown)}",) if unknown else ()
    return Section(("what", "value"), known, (f"Found by {person.found_by}.", *notes))


def identifiers(source: Source, person: Person) -> Section:
    """Identities."""
    columns, rows = source.table(
        "marts.dim_customer_identities",
        "customer_id = ? order by first_seen_at, source_customer_key",
        person.customer_id,
        but=("customer_id",),
    )
    many = len(rows) > 1
    note = "" if many else "One identifier alone: nothing had to be joined."
    return limited(Section(columns, rows, (note,) if note else ()), MOST_ROWS)


def edges(source: Source, person: Person) -> Section:
    """Why they are one person."""
    own = list(person.identifiers)
    columns, rows = source.table(
        "marts.fct_identity_edges",
        "list_contains(?, left_identifier) or list_contains(?, right_identifier) "
        "order by is_joining desc, first_seen_at, left_identifier, right_identifier, edge_kind",
        own,
        own,
    )
    note = () if rows else ("No edge leads to another identifier.",)
    return limited(Section(columns, rows, note), MOST_ROWS)


def id_changes(source: Source, person: Person) -> Section:
    """Changes of the id."""
    columns, rows = source.table(
        "operations.fct_identity_changes",
        "old_customer_id = ? or new_customer_id = ? or list_contains(?, source_customer_key) "
        "order by changed_as_of, source_customer_key",
        person.customer_id,
        person.customer_id,
        list(person.identifiers),
    )
    return limited(Section(columns, rows, () if rows else ("None.",)), MOST_ROWS)


def consents(source: Source, person: Person) -> Section:
    """Consent now."""
    columns, rows = source.table(
        "marts.dim_customer_consents", "customer_id = ? order by channel", person.customer_id, but=("customer_id",)
    )
    return Section(columns, rows, () if rows else ("No decision on any channel is known.",))


def consent_decisions(source: Source, person: Person) -> Section:
    """Consent decisions."""
    columns, rows = source.table(
        "marts.fct_consent_changes",
        "customer_id = ? order by channel, decision_number nulls last, recorded_at, decision_id",
        person.customer_id,
        but=("consent_change_id", "customer_id", "decision_number", "subject_key"),
    )
    return limited(Section(columns, rows, () if rows else ("None.",)), MOST_ROWS)


def suppressions(source: Source, person: Person) -> Section:
    """Suppression in the warehouse."""
    hashes = [one.removeprefix("email:") for one in person.identifiers if one.startswith("email:")]
    columns, rows = source.table(
        "marts.dim_suppressions",
        "customer_id = ? or list_contains(?, address_hash) order by subject_kind, suppressed_at",
        person.customer_id,
        hashes,
        but=("suppression_id", "customer_id"),
    )
    return Section(columns, rows, () if rows else ("None.",))


def live_suppression(source: Source, person: Person) -> Section:
    """Suppression at this moment."""
    from letterpress.activation import stores, suppression

    [[address]] = source.rows("select email from marts.dim_customers where customer_id = ?", person.customer_id)
    asked = {"the person": suppression.subjects(None, person.customer_id, source.identity_key)}
    if address:
        asked["the address"] = suppression.subjects(address, None, source.identity_key)
    del address
    with stores.opened(source.settings.stores) as engine, stores.reading(engine) as connection:
        found = [
            (subject, reason)
            for subject, hashes in asked.items()
            for reason in suppression.reasons(connection, hashes).values()
        ]
    note = "It is asked before anything leaves, whatever the published consent says." if found else "None."
    return Section(("subject", "reason"), tuple(found), (note,))


def eligibility(source: Source, person: Person) -> Section:
    """What the next sync may do."""
    columns, rows = source.table("activation.sync_customers", "customer_id = ?", person.customer_id)
    wanted = ("is_eligible", "refusal_reason", "email_consent_status", "segments", "cluster", "clv_tier", "rfm_segment")
    given = dict(zip(columns, rows[0], strict=True)) if rows else {}
    shown = tuple((name, given[name]) for name in wanted if name in given)
    return Section(("what", "value"), shown, () if shown else ("Not in the sync at all.",))


def rfm(source: Source, person: Person) -> Section:
    """RFM: the scores and the cuts between them."""
    found = source.rows(
        "select recency_days, frequency, monetary, recency_score, frequency_score, monetary_score, rfm_code, "
        "rfm_segment, suggested_action from marts.fct_customer_rfm where customer_id = ?",
        person.customer_id,
    )
    if not found:
        return Section(notes=("No purchase yet: people without one have no scores.",))
    [[recency, frequency, monetary, r, f, m, code, segment, action]] = found
    rows = []
    measures = (("recency_days", recency, r), ("frequency", frequency, f), ("monetary", monetary, m))
    for measure, value, score in measures:
        of_score = measure.replace("_days", "") + "_score"
        found = source.rows(
            f"select {of_score}, min({measure}), max({measure}) from marts.fct_customer_rfm group by 1 order by 1"
        )
        cuts = {number: _span(least, most) for number, least, most in found}
        rows.append((measure, value, score, *(cuts.get(number) for number in QUINTILES)))
    columns = ("measure", "value", "score", *(f"people_with_{number}" for number in QUINTILES))
    equal = "Equal values may fall on both sides of a cut; the customer id then decides, so that each fifth is a fifth."
    return Section(columns, tuple(rows), (f"{code} is {segment}: {action}", equal))


def segments(source: Source, person: Person) -> Section:
    """Segments, and the rule's own values."""
    from letterpress.warehouse import segments as rules

    _, listed = source.table("marts.dim_segments", "segment_kind = 'rule' order by segment_key")
    names = source.columns("marts.dim_segments")
    known = rules.published(dict(zip(names, row, strict=True)) for row in listed)
    columns, [measured] = source.table("marts.fct_customer_measures", "customer_id = ?", person.customer_id)
    measures = dict(zip(columns, measured, strict=True))
    answers = rules.explain(known, measures)
    hidden = {name for name, value in measures.items() if not source.may_tell(name, value)}
    members = {
        key: (name, kind)
        for key, name, kind in source.rows(
            "select segment_key, segment_name, segment_kind from marts.dim_customer_segments where customer_id = ?",
            person.customer_id,
        )
    }
    rows = [(name, True, "the RFM scores, see above", None, True) for name, kind in members.values() if kind == "rfm"]
    for segment in sorted(known, key=lambda one: (not answers[one.key].is_met, one.name)):
        is_member = segment.key in members
        rows.extend((segment.name, is_member, *part) for part in _asked(answers[segment.key], hidden))
    return Section(("segment", "is_member", "rule_asks", "found", "is_met"), tuple(rows), grouped=2)


def segment_history(source: Source, person: Person) -> Section:
    """Segments entered and left."""
    columns, rows = source.table(
        "operations.fct_segment_stays",
        "customer_id = ? order by entered_publication_number desc, segment_key",
        person.customer_id,
        but=("customer_id", "entered_publication_number"),
    )
    note = "By published version: what lies between two of them is not seen."
    return limited(Section(columns, rows, (note,) if rows else ("None.",)), MOST_ROWS)


def scores(source: Source, person: Person) -> Section:
    """Scores."""
    columns, rows = source.table(
        "marts.fct_customer_scores",
        "customer_id = ? order by model_name",
        person.customer_id,
        but=("customer_id",),
    )
    return Section(columns, rows, () if rows else ("No model has scored this person.",))


def score_inputs(source: Source, person: Person) -> Section:
    """What the models read of this person, and what strikes in it."""
    scored = dict(
        source.rows("select model_name, tier from marts.fct_customer_scores where customer_id = ?", person.customer_id)
    )
    held = set(source.columns("features.customer_features"))
    rows = []
    for model, tier in sorted(scored.items()):
        for column in _inputs(model):
            if column not in held:
                continue
            [[value, below, above, middle, of_tier]] = source.rows(
                f"""
                with population as (
                    select features.{column} as feature, scores.tier, features.customer_id = $1 as is_asked
                    from features.customer_features as features
                    inner join marts.fct_customer_scores as scores
                        on features.customer_id = scores.customer_id and scores.model_name = $2
                    where features.{column} is not null or features.customer_id = $1
                ),
                asked as (select feature from population where is_asked)
                select
                    (select feature from asked),
                    avg(case when feature < (select feature from asked) then 1.0 else 0.0 end),
                    avg(case when feature > (select feature from asked) then 1.0 else 0.0 end),
                    median(feature),
                    median(case when tier = $3 then feature end)
                from population
                """,
                person.customer_id,
                model,
                tier,
            )
            rows.append((model, column, value, _percent(below), middle, of_tier, _reason(column, value, below, above)))
    columns = ("model", "feature", "value", "people_below", "median", "median_of_its_tier", "reason_code")
    note = (
        "A reason code names an input at which at most a fifth of all scored people stand as far out or further; it "
        "says what the model saw, and not how much of the score is due to it."
    )
    return Section(columns, tuple(rows), (note,) if rows else ("No model has scored this person.",))


def sends(source: Source, person: Person) -> Section:
    """What Letterpress sent."""
    columns, rows = source.table(
        "operations.fct_sends",
        "customer_id = ? order by accepted_at desc nulls last, campaign_id, destination",
        person.customer_id,
        but=("customer_id", "send_id"),
    )
    return limited(Section(columns, rows, () if rows else ("Nothing.",)), MOST_ROWS)


def messages(source: Source, person: Person) -> Section:
    """What became of the messages."""
    wanted = (
        "campaign_id, source_system, sent_at, delivered_at, first_opened_at, first_clicked_at, machine_open_count, "
        "attributed_order_count, attributed_revenue, is_bounced, unsubscribed_at, complained_at"
    )
    rows = source.rows(
        f"select {wanted} from marts.fct_email_messages where customer_id = ? "
        "order by coalesce(sent_at, delivered_at) desc nulls last, email_message_id",
        person.customer_id,
    )
    columns = tuple(wanted.replace(",", "").split())
    notes = ("Newest first; what machines opened counts for no interest.",) if rows else ("No message is known.",)
    return limited(Section(columns, tuple(rows), notes), MOST_ROWS)


def at_destinations(source: Source, person: Person) -> Section:
    """What the e-mail tools hold."""
    from letterpress.activation import ledger, stores
    from letterpress.activation.destinations import destinations

    rows = []
    with stores.opened(source.settings.stores) as engine, stores.reading(engine) as connection:
        for name in destinations():
            for row in ledger.rows_of(connection, name, [person.customer_id]):
                held = row["acknowledged"]
                shown = "yes" if row["facet"] == ledger.PROFILE and held else held and held.partition(":")[0]
                rows.append((name, row["facet"], shown, row["state"], row["operation"], row["error_code"]))
    columns = ("destination", "facet", "held", "state", "last_operation", "error_code")
    return Section(columns, tuple(rows), () if rows else ("Nothing.",))


SECTIONS: tuple[Callable[[Source, Person], Section], ...] = (
    profile,
    identifiers,
    edges,
    id_changes,
    consents,
    consent_decisions,
    suppressions,
    live_suppression,
    eligibility,
    rfm,
    segments,
    segment_history,
    scores,
    score_inputs,
    sends,
    messages,
    at_destinations,
)


def _asked(answer: "Answer", hidden: set[str], depth: int = 0) -> Iterator[tuple[str, Any, bool]]:
    """A rule as indented lines: what it asks, what it found, and whether that meets it."""
    if answer.condition is not None:
        asked = answer.condition
        unless = ", or missing" if asked.or_missing else ""
        found = "known, not shown" if asked.column in hidden else answer.found
        yield f"{'  ' * depth}{asked.column} {asked.operator} {asked.value}{unless}", found, answer.is_met
        return
    is_flat = answer.kind == "all" and depth == 0
    if not is_flat:
        yield f"{'  ' * depth}{answer.kind} of", None, answer.is_met
    for part in answer.parts:
        yield from _asked(part, hidden, depth if is_flat else depth + 1)


def _inputs(model: str) -> tuple[str, ...]:
    """The columns of customer_features that a model reads (models.yml); of a model of orders, those that tell them."""
    from ml.config import configured, model_names

    if model not in model_names():
        return ()
    frames = configured(model).features
    ordered = OF_ORDERS if "customer_orders" in frames else ()
    return tuple(dict.fromkeys((*frames.get("customer_features", ()), *ordered)))


def _reason(column: str, value: float | None, below: float | None, above: float | None) -> str | None:
    if value is None:
        return f"{column}_missing"
    if above is not None and above < STRIKING_SHARE and below >= STRIKING_SHARE:
        return f"{column}_high"
    if below is not None and below < STRIKING_SHARE and above >= STRIKING_SHARE:
        return f"{column}_low"
    return None


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.0f} %"


def _span(least: float, most: float) -> str:
    shown = [f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" for value in (least, most)]
    return " to ".join(dict.fromkeys(shown))
