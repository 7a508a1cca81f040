"""Deciding, person by person and facet by facet, what a destination lacks: the heart of the plan, inside DuckDB.

``load`` brings ledger and live suppression beside the audience; ``decide`` leaves two tables: ``judged`` with one row
a person of either side, and ``decided`` with one row a facet that is wanted or held, and its action. Profiles that
stay as they are, nearly all of them, are in the former alone.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import sqlalchemy as sa

from letterpress.activation import audience, ledger, stores, suppression
from letterpress.activation.destinations import Destination
from letterpress.activation.destinations.spec import Operation

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

# Why the warehouse refuses somebody -> what the destination is told about a person whom it holds.
TOLD = """case
    when reason in ('unsubscribed', 'bounced', 'complained', 'erased') then reason else 'consent_withdrawn' end"""
ADDRESSLESS = "('no_email', 'invalid_email')"
PLAIN = "regexp_full_match(email, '[!-~]+')"


def load(duck: "DuckDBPyConnection", connection: sa.Connection, destination: Destination, identity_key: bytes) -> None:
    """The audience with the hashes of its payloads, the ledger's facets, identities that moved, and who is stopped."""
    with ThreadPoolExecutor(1) as pool:  # Python reads the ledger while DuckDB makes payloads
        reading = pool.submit(_read, connection, destination)
        duck.execute(f"""
            create temp table people as
            select customer_id, is_eligible, refusal_reason, consent_proof,
                   case when is_eligible then target(payload) end as target
            from {audience.relation(destination)}
        """)
        tables = reading.result()
    for name, found in tables.items():
        duck.register("given", found)
        duck.execute(f"create temp table {name} as from given")
        duck.unregister("given")
    _load_members(duck, destination)
    _load_stopped(duck, connection, destination, identity_key)
    _load_moves(duck)


def decide(duck: "DuckDBPyConnection", destination: Destination) -> None:
    """Make ``judged`` and ``decided``."""
    duck.execute(f"create temp table judged as {_judged(destination)}")
    duck.execute(f"""
        create temp table decided as
        select customer_id, '{ledger.CONSENT}' as facet, consent_action as action, told_reason as reason,
               consent_revision as base_revision, consent_target as target, null::varchar as moves_to
        from judged where consent_action is not null
        union all
        select customer_id, '{ledger.PROFILE}', profile_action, told_reason,
               base_revision, target, moves_to
        from judged where profile_action <> 'unchanged'
    """)
    for key, list_id in destination.lists.items():
        duck.execute(f"insert into decided {_list_decisions(key, list_id)}")


def _judged(destination: Destination) -> str:
    can_move, can_delete, can_restore = (
        one in destination.endpoints for one in (Operation.MOVE, Operation.DELETE, Operation.SUBSCRIBE)
    )
    move = _unless_refused("move", f"'{ledger.MOVES_TO}' || merged_into")
    delete = _unless_refused("delete", "'delete'")
    clear = _unless_refused("clear", f"'{ledger.CLEARED}'")
    merged_away = move if can_move else delete if can_delete else "null"
    leaver = {
        "keep": "null",
        "clear": f"case when acknowledged <> '{ledger.CLEARED}' or is_unsettled then {clear} end",
        "delete": delete,
    }[destination.leavers]
    wants_opt_in = "consent_held is null" if destination.subscribes else "false"
    return f"""
        with wanted as (
            select
                people.customer_id,
                people.is_eligible and stopped.reason is null as is_eligible,
                coalesce(stopped.reason, people.refusal_reason) as reason,
                people.consent_proof,
                case when stopped.reason is null then people.target end as wanted
            from people
            left join stopped on stopped.customer_id = people.customer_id
        ),
        profiles as (
            select coalesce(moves.new_id, held.customer_id) as customer_id, held.customer_id as held_id,
                   acknowledged, revision, state, operation, pending, coalesce(is_queued, false) as is_queued
            from (from held where facet = '{ledger.PROFILE}') as held
            left join (from unsettled where facet = '{ledger.PROFILE}') as unsettled using (customer_id)
            left join moves on moves.old_id = held.customer_id and moves.is_free and {can_move}
                and not coalesce(state = 'dead' and pending = '{ledger.MOVES_TO}' || moves.new_id, false)
        ),
        consents as (
            select customer_id, acknowledged as consent_held, revision as consent_revision, state as consent_state,
                   pending as consent_pending, coalesce(is_queued, false) as is_consent_queued
            from (from held where facet = '{ledger.CONSENT}') as held
            left join (from unsettled where facet = '{ledger.CONSENT}') as unsettled using (customer_id)
        ),
        joined as (
            select
                coalesce(wanted.customer_id, profiles.customer_id, consents.customer_id) as customer_id,
                profiles.held_id,
                wanted.customer_id is not null as is_in_audience,
                coalesce(wanted.is_eligible, false) and consents.consent_held is distinct from 'complained'
                as is_eligible,
                case
                    when wanted.customer_id is null and ({can_move} or profiles.state = 'dead') then moved.refusal
                    when not wanted.is_eligible then wanted.reason
                    when wanted.is_eligible and consents.consent_held = 'complained' then 'complained'
                end as reason,
                wanted.consent_proof,
                wanted.wanted,
                profiles.acknowledged,
                coalesce(profiles.revision, 0) as base_revision,
                profiles.state,
                profiles.pending,
                coalesce(profiles.is_queued, false) as is_queued,
                coalesce(profiles.state = 'sent', false) as is_unsettled,
                profiles.acknowledged is not null or coalesce(profiles.state = 'sent', false) as is_held,
                consents.consent_held,
                coalesce(consents.consent_revision, 0) as consent_revision,
                consents.consent_state,
                consents.consent_pending,
                coalesce(consents.is_consent_queued, false) as is_consent_queued,
                coalesce(consents.consent_state = 'sent' and consents.consent_pending like '{ledger.GRANTED}%', false)
                    as may_be_granted,  -- an opt-in whose answer was lost: mail may go there
                coalesce(consents.consent_held not like '{ledger.GRANTED}%', false)
                or coalesce(consents.consent_state = 'sent' and consents.consent_pending not like '{ledger.GRANTED}%',
                            false) as may_be_suppressed,
                case
                    when {"true" if destination.subscribes else "consents.customer_id is not null"}
                        and (consents.consent_state is not null
                             or consents.consent_held is null or consents.consent_held not like '{ledger.GRANTED}%')
                        then '{ledger.GRANTED}:' || left(keyed('proof:' || wanted.consent_proof), 16)
                end as granted,
                moved.new_id as merged_into
            from wanted
            full join profiles on profiles.customer_id = wanted.customer_id
            full join consents on consents.customer_id = coalesce(wanted.customer_id, profiles.customer_id)
            left join moves as moved on moved.old_id = profiles.held_id
        ),
        erasing as (
            select
                joined.* exclude (reason),
                case
                    when is_eligible and may_be_suppressed and consent_proof is null then 'suppressed_without_proof'
                    when is_eligible and may_be_suppressed and not {can_restore} then 'suppressed_there'
                    else reason
                end as reason,
                (erased.customer_id is not null or coalesce(reason = 'erased', false))
                and (
                    is_held or consent_held is not null or may_be_granted
                    or (held_id is not null and acknowledged is null and state is null)  -- deleted, or archived there
                ) as is_erased,
                {TOLD} as told
            from joined
            left join erased on erased.customer_id = coalesce(joined.held_id, joined.customer_id)
        ),
        consenting as (
            select
                *,
                case
                    when is_erased or reason in {ADDRESSLESS} then null
                    when not is_in_audience and reason is null then null
                    when is_consent_queued then 'waiting'
                    when not is_eligible then
                        case when (not is_held or held_id <> customer_id) and not may_be_granted
                                  and coalesce(consent_held not like '{ledger.GRANTED}%', true) then null
                             else {_suppression("consent")} end
                    when consent_proof is null then null
                    when consent_state = 'dead' and consent_pending = granted then 'rejected'
                    when may_be_suppressed then {"'restore'" if can_restore else "null"}
                    when {wants_opt_in} then 'subscribe'
                    when consent_state in ('sent', 'planned', 'rejected') then 'subscribe'
                end as consent_action
            from erasing
        ),
        moving as (
            select
                held_id as customer_id, false as is_in_audience, false as is_eligible, false as is_held,
                case
                    when not is_in_audience or is_eligible or reason in {ADDRESSLESS} then null
                    when former.is_consent_queued then 'waiting'
                    else {_suppression("former.consent")}
                end as consent_action,
                coalesce(former.consent_revision, 0) as consent_revision,
                told as consent_target,
                base_revision,
                case when is_queued then 'waiting' else 'move' end as profile_action,
                '{ledger.MOVES_TO}' || consenting.customer_id as target,
                consenting.customer_id as moves_to
            from consenting
            left join consents as former on former.customer_id = held_id
            where held_id <> consenting.customer_id
        )
        select
            customer_id, is_in_audience, is_eligible, is_held, may_be_suppressed, reason, acknowledged,
            consent_action, consent_revision,
            base_revision + case when held_id <> customer_id then 1 else 0 end as base_revision,  -- the move counts
            case when is_erased then 'erased' when consent_action = 'suppress' then told end as told_reason,
            case when consent_action = 'suppress' then told else granted end as consent_target,
            case
                when is_queued and is_held then 'waiting'
                when is_erased then {_unless_refused("erase", "'erase'")}
                when merged_into is not null and (is_held or state is not null) and not is_in_audience
                    then {merged_away}
                when not is_held and not is_eligible then null
                when not is_in_audience or reason in {ADDRESSLESS} then {leaver}
                when not is_eligible then null
                when may_be_suppressed and (consent_proof is null or consent_action = 'rejected' or not {can_restore})
                    then null
                when acknowledged = wanted and state is null then 'unchanged'
                when state = 'dead' and pending = wanted then 'rejected'
                when acknowledged is null then 'create'
                else 'update'
            end as profile_action,
            case
                when profile_action = 'clear' then '{ledger.CLEARED}'
                when profile_action = 'move' then '{ledger.MOVES_TO}' || merged_into
                when profile_action in ('create', 'update') then wanted
                else coalesce(profile_action, '')
            end as target,
            case when profile_action = 'move' then merged_into end as moves_to
        from consenting
        union all by name
        select *, case when consent_action = 'suppress' then consent_target end as told_reason from moving
    """


def _suppression(consent: str) -> str:
    """SQL for what becomes of the consent of somebody whom the destination may write to; it stands in ``consent``_…."""
    return f"""case
        when {consent}_held not like '{ledger.GRANTED}%' and {consent}_state is null then null
        when {consent}_state = 'dead' and {consent}_pending = told then 'rejected'
        else 'suppress' end"""


def _unless_refused(action: str, target: str) -> str:
    """SQL for an action, unless the destination refused exactly this."""
    return f"case when state = 'dead' and pending = {target} then 'rejected' else '{action}' end"


def _list_decisions(key: str, list_id: str) -> str:
    """Joins and leaves of one list: only who may be written to and whose profile is there is wanted in it.

    Members of a list that the segment had before join this one; the former one is left alone.
    """
    facet, member = f"{ledger.LIST}{key}".replace("'", "''"), ledger.member_of(list_id)
    return f"""
        with wanted as (
            select judged.customer_id
            from judged
            inner join members on members.customer_id = judged.customer_id
            where members.segment_key = '{facet.removeprefix(ledger.LIST)}' and judged.is_eligible
                and (
                    judged.profile_action in ('create', 'update', 'unchanged', 'waiting')
                    or (judged.profile_action = 'rejected' and judged.acknowledged is not null)
                )
        ),
        there as (
            select customer_id, acknowledged, revision, state, pending, coalesce(is_queued, false) as is_queued
            from (from held where facet = '{facet}') as held
            left join (from unsettled where facet = '{facet}') as unsettled using (customer_id)
        ),
        removed as (
            select customer_id from judged where profile_action in ('delete', 'erase', 'move')
        ),
        compared as (
            select
                coalesce(wanted.customer_id, there.customer_id) as customer_id,
                coalesce(there.revision, 0) as base_revision,
                case
                    when removed.customer_id is not null then null
                    when is_queued then 'waiting'
                    when wanted.customer_id is not null then
                        case when acknowledged = '{member}' and state is null then 'unchanged'
                             when state = 'dead' and pending = '{member}' then 'rejected'
                             else 'join' end
                    when acknowledged = '{member}' or state in ('sent', 'planned') then
                        case when state = 'dead' and pending = 'leave' then 'rejected' else 'leave' end
                end as action
            from wanted
            full join there on there.customer_id = wanted.customer_id
            left join removed on removed.customer_id = there.customer_id
        )
        select customer_id, '{facet}', action, null, base_revision,
               case when action = 'leave' then 'leave' else '{member}' end, null
        from compared where action in ('join', 'leave', 'waiting', 'rejected')
    """


def _load_moves(duck: "DuckDBPyConnection") -> None:
    """Former ids whose people are known under another one now, and whether that one is free at the destination.

    A former id that is in the audience (it was split, and keeps a part) has not moved, and one that was erased does
    not: where the person was erased under the present id, the former one is erased too. Where its accounts went to
    several people, the first by id takes the profile. ``refusal`` says why the person may not be written to, if so:
    the destination knows the former id alone until the profile has moved, and its address is the one that gets mail.
    """
    duck.execute("create temp table moves (old_id varchar, new_id varchar, is_free boolean, refusal varchar)")
    tables = duck.execute(
        "select count(*) from duckdb_tables() where database_name = 'published'"
        " and table_name in ('fct_identity_changes', 'dim_customer_identities')"
    ).fetchall()[0][0]
    if tables < 2:
        return
    _load_begun(duck)
    duck.execute(f"""
        insert into moves
        with there as (
            select customer_id from held where facet = '{ledger.PROFILE}' and acknowledged is not null
            union
            select customer_id from unsettled where facet = '{ledger.PROFILE}'
        ),
        gone as (
            from there except select customer_id from published.marts.dim_customers
            except select customer_id from erased
        ),
        came_to as (
            select gone.customer_id as old_id, min(identities.customer_id) as new_id
            from gone
            inner join published.operations.fct_identity_changes as changes
                on changes.old_customer_id = gone.customer_id
            inner join published.marts.dim_customer_identities as identities using (source_customer_key)
            group by all
        )
        select
            old_id,
            new_id,
            new_id not in (from there)
            and row_number() over (partition by new_id order by old_id) = 1,
            coalesce(stopped.reason, people.refusal_reason)
        from came_to
        left join people on people.customer_id = came_to.new_id
        left join stopped on stopped.customer_id = came_to.new_id
    """)
    duck.execute("""
        insert into erased
        select old_id from moves left join suppressed on subject_hash = keyed('customer:' || new_id)
        where 'erased' in (suppressed.reason, refusal)
    """)
    duck.execute("delete from moves where old_id in (from erased)")


def _load_begun(duck: "DuckDBPyConnection") -> None:
    """Ids that a move may have given to a profile, its answer being lost, and that are nobody's by now.

    The ledger knows the profile by the id before. It may be there under either, so both go on to the present one.
    """
    duck.execute(f"""
        create temp table begun as
        select distinct substr(pending, {len(ledger.MOVES_TO) + 1}) as customer_id
        from unsettled
        where facet = '{ledger.PROFILE}' and state = 'sent' and pending like '{ledger.MOVES_TO}%'
    """)
    duck.execute(f"""
        delete from begun
        where customer_id in (select customer_id from published.marts.dim_customers)
            or customer_id in (select customer_id from held where facet = '{ledger.PROFILE}')
    """)
    duck.execute(f"""
        insert into held by name
        select '{ledger.PROFILE}' as facet, customer_id, 0 as revision from begun
    """)
    duck.execute(f"""
        insert into unsettled by name
        select '{ledger.PROFILE}' as facet, customer_id, 'sent' as state, 'move' as operation, false as is_queued
        from begun
    """)


def _load_members(duck: "DuckDBPyConnection", destination: Destination) -> None:
    """Who is in the segments that have a list."""
    duck.execute("create temp table members (customer_id varchar, segment_key varchar)")
    if destination.lists:
        duck.execute(
            f"""
            insert into members
            select customer_id, segment_key
            from (
                select customer_id, unnest(string_split(segments, ',')) as segment_key
                from published.{destination.audience} where segments is not null
            )
            where list_contains($lists, segment_key)
        """,
            {"lists": list(destination.lists)},
        )


def _load_stopped(
    duck: "DuckDBPyConnection", connection: sa.Connection, destination: Destination, identity_key: bytes
) -> None:
    """Whom live suppression stops, of those whom the warehouse would let through; and who is erased, of all held."""
    duck.execute("create temp table stopped (customer_id varchar, reason varchar)")
    duck.execute("create temp table erased (customer_id varchar)")
    if not duck.execute("select count(*) from suppressed").fetchall()[0][0]:
        return
    ranks = " ".join(f"when '{reason}' then {rank}" for reason, rank in suppression.STRENGTH.items())
    duck.execute(f"""
        create temp table suppressed_people as
        select customer_id, reason
        from (
            select customer_id from published.{destination.audience} where is_eligible and email is not null
            union
            select customer_id from held
        )
        inner join suppressed on subject_hash = keyed('customer:' || customer_id)
    """)
    duck.execute(f"""
        insert into stopped
        with found as (
            select customer_id, reason
            from published.{destination.audience}
            inner join suppressed on subject_hash = keyed(lower(email))
            where is_eligible and {PLAIN}
            union all
            select customer_id, reason
            from suppressed_people
            semi join (
                from published.{destination.audience} where is_eligible and email is not null
            ) using (customer_id)
        )
        select customer_id, arg_max(reason, case reason {ranks} end)
        from found
        group by customer_id
    """)
    # The few addresses that DuckDB might lower otherwise than Python, which hashes what comes in.
    odd = duck.execute(
        f"select customer_id, email from published.{destination.audience}"
        f" where is_eligible and email is not null and not {PLAIN}"
    ).fetchall()
    found = suppression.stopped(connection, odd, identity_key)
    if found:
        duck.executemany(
            "insert into stopped select ?, ? where ? not in (select customer_id from stopped)",
            [(one, reason, one) for one, reason in found.items()],
        )
    duck.execute("""
        insert into erased
        select customer_id from suppressed_people
        where reason = 'erased' and customer_id in (select customer_id from held)
    """)


def _read(connection: sa.Connection, destination: Destination) -> dict[str, "pa.Table"]:
    """What the stores say of a destination: held, unsettled and suppressed."""
    import pyarrow as pa

    held = {"facet": pa.string(), "customer_id": pa.string(), "acknowledged": pa.string(), "revision": pa.int64()}
    unsettled = {name: pa.string() for name in ("facet", "customer_id", "state", "operation", "pending")}
    facets = [ledger.PROFILE, ledger.CONSENT, *(f"{ledger.LIST}{key}" for key in destination.lists)]
    queries = [(facet, ledger.held(destination.name, facet)) for facet in facets]
    open_queries = [(facet, ledger.unsettled(destination.name, facet)) for facet in facets]
    return {
        "held": _table(connection, held, queries),
        "unsettled": _table(connection, unsettled | {"is_queued": pa.bool_()}, open_queries),
        "suppressed": _table(
            connection, {"subject_hash": pa.string(), "reason": pa.string()}, [(None, suppression.in_force())]
        ),
    }


def _table(
    connection: sa.Connection, columns: Mapping[str, "pa.DataType"], queries: Iterable[tuple[str | None, sa.Select]]
) -> "pa.Table":
    """The rows of several queries, each after the value of its first column, where that is not in the rows."""
    import pyarrow as pa

    schema, slices = pa.schema(columns), []
    for first, query in queries:
        for rows in stores.fetched(connection, query):
            leading = [] if first is None else [pa.repeat(first, len(rows))]
            arrays = [
                pa.array(map(bool, values) if kind == pa.bool_() else values, kind)  # SQLite says 0 and 1
                for values, kind in zip(zip(*rows, strict=True), schema.types[len(leading) :], strict=True)
            ]
            slices.append(pa.record_batch(leading + arrays, schema=schema))
    return pa.Table.from_batches(slices, schema)
