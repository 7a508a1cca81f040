"""A campaign to the right people at the right hour with the right subject, against one at random.

Run as ``python -m benchmarks.closed_loop [--customers 20000] [--output build/bench/closed_loop.json]``. Two shops of
one seed: in each a fifth of those who agreed to mail get one through a local ESP, by SMTP, and two weeks pass. The best
campaign knows the planted truths: whom mail persuades most, at which hour they read, which of three subject lines they
like. The other draws people, hour and subject by lot. Ends with 1 where the best one does not earn more, p < .001.
"""

from __future__ import annotations

import argparse
import json
import math
import smtplib
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from letterpress.demo.esp import RunningEsp, running
from letterpress.demo.shop.loop import answer
from letterpress.demo.shop.mailboxes import Mailboxes
from letterpress.demo.simulation import answers, chance, identity, mail, reading
from letterpress.demo.simulation.answers import Mailing
from letterpress.demo.simulation.effects import Message
from letterpress.demo.simulation.simulator import Simulator, World
from letterpress.demo.simulation.switches import Behaviour, Dirt
from letterpress.demo.simulation.tables import State
from letterpress.demo.simulation.vocabulary import CATEGORIES

REPOSITORY = Path(__file__).resolve().parents[1]
TODAY = datetime(2011, 7, 4, tzinfo=UTC)  # a Monday
SUBJECTS = ("{name}, our favourites for you", "★ Our favourites this week", "Only today: our favourites")
SHARE = 0.2  # of those who agreed to mail get it
DAYS_AFTER = 14
TOKEN = "closed-loop-token"


@dataclass(frozen=True)
class Campaign:
    """Whom to mail, at which hour (UTC, 0 to 23), with which subject line, showing which category."""

    person: np.ndarray
    hour: np.ndarray
    subject: np.ndarray
    shelf: np.ndarray


@dataclass(frozen=True)
class Result:
    """What one campaign did: for each person mailed the pence of the orders that it caused, and its counts."""

    caused: np.ndarray
    opens: int
    clicks: int
    orders: int


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 0 if the best campaign earns more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "bench" / "closed_loop.json")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="closed-loop-") as folder:
        best, random = trial(Path(folder), customers=options.customers, seed=options.seed)
    rows = measure(best, random)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(table(rows) + f"\n\nwritten to {options.output}\n")
    return 0 if all(row["holds"] for row in rows) else 1


def trial(folder: Path, *, customers: int, seed: int) -> tuple[Result, Result]:
    """Both campaigns, each in a shop of its own with the same history; the best one first."""
    world = World(seed=seed, customers=customers, days=60, today=TODAY, dirt=Dirt.off())
    simulator = Simulator(world)
    state = simulator.opening()
    while chance.start_of(state.next_day) < chance.milliseconds(TODAY):
        simulator.play(state)
    history = state.dump()
    found = []
    for name, choose in (("best", best_campaign), ("random", random_campaign)):
        at_start = State.load(history)
        found.append(_run(folder / name, simulator, at_start, choose(at_start, seed)))
    return found[0], found[1]


def best_campaign(state: State, seed: int) -> Campaign:
    """What somebody who knows every hidden trait would send: the most expected orders for a fifth of the people."""
    people, person = state.people, _mailable(state)
    shelf = np.argmax(answers.tastes(people, person), axis=1)
    local = answers.best_hour(people, person, weekend=False)
    day = TODAY.date().toordinal() - datetime(1970, 1, 1, tzinfo=UTC).date().toordinal()
    ahead = chance.zone_offsets(day)[people["zone"][person]] / chance.HOUR
    hour = np.round(local - ahead).astype(np.int64) % 24
    features = np.array([reading.features(subject, "") for subject in SUBJECTS])
    liked = people["subject_taste"][person] @ features.T.astype(float)
    subject = np.argmax(liked, axis=1)
    mailing = _mailing(person, chance.start_of(day) + hour * chance.HOUR, features[subject], shelf)
    fits = answers.fit(people, mailing, answers.link_fit(people, state.products, mailing))
    pressure = answers.pressure_at(people, person, mailing.at)
    expected = (
        answers.open_chance(people, mailing, pressure, Behaviour())
        * answers.click_chance(people, mailing, fits)
        * answers.order_chance(people, mailing, fits)
        * people["active"][person]
    )
    top = np.argsort(-expected, kind="stable")[: int(len(person) * SHARE)]
    return Campaign(person[top], hour[top], subject[top], shelf[top])


def random_campaign(state: State, seed: int) -> Campaign:
    """People, hours, subject lines and categories by lot."""
    person, rng = _mailable(state), np.random.default_rng(seed)
    count = int(len(person) * SHARE)
    return Campaign(
        rng.choice(person, count, replace=False),
        rng.integers(0, 24, count),
        rng.integers(0, len(SUBJECTS), count),
        rng.integers(0, len(CATEGORIES), count),
    )


def _mailable(state: State) -> np.ndarray:
    """One person for each account that agreed to mail."""
    accounts = state.accounts
    return np.unique(accounts["person"][(accounts["consent"] == mail.GRANTED) & ~accounts["suppressed"]])


def _mailing(person: np.ndarray, at: np.ndarray, subject: np.ndarray, shelf: np.ndarray) -> Mailing:
    count = len(person)
    return Mailing(
        number=np.arange(count, dtype=np.uint64),
        person=person,
        at=at,
        kind=np.full(count, int(Message.RECOMMENDATION)),
        subject=subject,
        shelf=shelf,
        links=(answers.FIRST_SHELF - shelf)[:, None],
    )


def _run(folder: Path, simulator: Simulator, state: State, campaign: Campaign) -> Result:
    """Send the campaign hour by hour through an ESP of its own, then let two weeks pass."""
    now, sequence, pence, counts = chance.milliseconds(TODAY), 0, np.zeros(len(state.people)), [0, 0, 0]
    clock = {"at": TODAY}
    with running(folder, token=TOKEN, clock=lambda: clock["at"]) as esp:
        mailboxes = Mailboxes(esp.base_url, TOKEN, timeout=60)
        for hour in range(24):
            clock["at"] = chance.moment(now + hour * chance.HOUR)
            _send(esp, state, campaign, campaign.hour == hour)
        letters = mailboxes.fetch(0)
    # The mails are answered as the shop does when its clock moves, with all of its people at once.
    answered = answer(letters, simulator, state, now, sequence)
    for _, body in answered.reactions:
        kind = json.loads(body)
        if not kind["is_machine"]:
            counts[0] += kind["kind"] == "open"
            counts[1] += kind["kind"] == "click"
    for _ in range(DAYS_AFTER):
        facts = simulator.play(state)
        orders = facts.orders
        caused = (facts.visits["campaign"][orders["visit"]] >= mail.EXTERNAL) & ~orders["cancelled"]
        np.add.at(pence, orders["person"][caused], orders["total"][caused])
        counts[2] += int(caused.sum())
    return Result(pence[campaign.person], *counts)


def _send(esp: RunningEsp, state: State, campaign: Campaign, rows: np.ndarray) -> None:
    people, person = state.people, campaign.person[rows]
    if not len(person):
        return
    columns = [people[name][person] for name in ("country", "first_name", "last_name")]
    names, _ = identity.full_name(*columns)
    local, host = identity.address(*columns, person, people["mail_style"][person], people["mail_domain"][person])
    parts = (names.to_pylist(), local.to_pylist(), host.to_pylist(), campaign.subject[rows], campaign.shelf[rows])
    with smtplib.SMTP(esp.smtp_host, esp.smtp_port) as smtp:
        for name, before, behind, subject, shelf in zip(*parts, strict=True):
            message = EmailMessage()
            message["From"], message["To"] = "hello@shop.example.com", f"{before}@{behind}"
            message["Subject"] = SUBJECTS[subject].format(name=name)
            message["X-Letterpress-Campaign"] = "favourites"
            message["X-Letterpress-Idempotency-Key"] = f"favourites-{before}"
            link = f"https://shop.example.com/c/{CATEGORIES[shelf].name.lower()}"
            query = "utm_source=letterpress&amp;utm_medium=email&amp;utm_campaign=favourites"
            message.set_content(f'<html><body><a href="{link}?{query}">look</a></body></html>', subtype="html")
            smtp.send_message(message)


def measure(best: Result, random: Result) -> list[dict[str, Any]]:
    """The common rows of a benchmark; the baseline is the campaign at random."""
    welch = stats.ttest_ind(best.caused, random.caused, equal_var=False, alternative="greater")
    ranks = stats.mannwhitneyu(best.caused, random.caused, alternative="greater")
    mails, others = len(best.caused), len(random.caused)
    return [
        _row("mails of each campaign", mails, "mails", None, others),
        _row("opens by people, a mail", best.opens / mails, "", None, random.opens / others),
        _row("clicks by people, a mail", best.clicks / mails, "", None, random.clicks / others),
        _row("orders caused, 1,000 mails", 1000 * best.orders / mails, "orders", None, 1000 * random.orders / others),
        _row("revenue caused, a mail", best.caused.mean() / 100, "pounds", None, random.caused.mean() / 100),
        _row("earns more: p, Welch's test", welch.pvalue, "", 0.001, None),
        _row("earns more: p, rank test", ranks.pvalue, "", 0.001, None),
    ]


def _row(what: str, measured: float, unit: str, reach: float | None, baseline: float | None) -> dict[str, Any]:
    return {
        "what": what,
        "measured": float(measured),
        "unit": unit,
        "reach": None if reach is None else f"< {reach:g}",
        "holds": bool(reach is None or (math.isfinite(measured) and measured < reach)),
        "baseline": None if baseline is None else float(baseline),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = [f"{'what':<28} {'measured':>10} {'at random':>10} {'reach':>9}  holds"]
    for row in rows:
        baseline = "" if row["baseline"] is None else f"{row['baseline']:.4g}"
        shown = f"{row['measured']:>10.4g} {baseline:>10} {row['reach'] or '':>9}"
        lines.append(f"{row['what']:<28} {shown}  {'yes' if row['holds'] else 'NO'}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
