"""Subject lines: texts are compared within campaigns, variants in flight by their chances, readers by their opens."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mail_rows import AS_OF, of_customers, shuffled, without_events

from ml.models.subject_lines import MODEL, Settings, rank_preheaders, rank_subjects
from ml.subject_lines import pairwise, preheader, tastes, text, thompson
from ml.subject_lines.variants import mails, variants

TEXTS = (
    ("New in this week", "{name}, new in this week", "★ New in this week"),
    ("Back in stock", "{name}, it is back in stock", "Back in stock today"),
    ("Gifts under £20", "Looking for a gift?", "{name}, gifts under £20"),
    ("Ideas for the weekend", "★ Ideas for the weekend", "Plans for Saturday?"),
)
LIFTS = {"{": 1.5, "★": 0.6}


def emails(customers: int = 300, weeks: int = 20, seed: int = 9, *, lifts: dict | None = None) -> dict:
    """Frames of a newsletter a week whose texts go by lot; a text with a sign of ``lifts`` is opened so much more.

    Campaigns differ in how much they are opened.
    """
    chance = np.random.default_rng(seed)
    lifts = LIFTS if lifts is None else lifts
    names = np.array([f"c{row:04d}" for row in range(customers)])
    parts = []
    for week in range(weeks):
        subject = np.array(TEXTS[week % 4])[chance.integers(0, 3, customers)]
        lift = np.array([np.prod([worth for sign, worth in lifts.items() if sign in each]) for each in subject])
        rate = np.minimum(chance.uniform(0.15, 0.45) * lift, 0.95)
        sent = pd.Timestamp("2011-02-08T09:00", tz="UTC") + pd.Timedelta(weeks=week)
        parts.append(
            pd.DataFrame(
                {
                    "customer_id": names,
                    "email_message_id": [f"m{week:03d}.{name}" for name in names],
                    "campaign_id": f"newsletter-{week:03d}",
                    "subject": subject,
                    "sent_at": sent,
                    "delivered_at": sent + pd.Timedelta(seconds=10),
                    "opened_at": pd.Series(sent + pd.Timedelta(hours=2), index=range(customers)).where(
                        chance.random(customers) < rate
                    ),
                    "clicked_at": pd.Series(pd.NaT, index=range(customers), dtype="datetime64[us, UTC]"),
                }
            )
        )
    told = pd.concat(parts, ignore_index=True)
    for column in ("sent_at", "delivered_at", "opened_at"):
        told[column] = told[column].astype("datetime64[us, UTC]")
    return {"customer_features": pd.DataFrame({"customer_id": names}), "customer_emails": told}


@pytest.fixture(scope="module")
def shop():
    return emails()


@pytest.fixture(scope="module")
def trained(shop):
    return MODEL.train(shop, AS_OF, Settings(), 1)


@pytest.fixture(scope="module")
def rows(shop, trained):
    return MODEL.score(trained.fitted, shop, AS_OF).rows


def test_styles_are_those_that_a_reader_notices():
    seen = text.styles(
        ["{name}, 10 % off ends tonight", "Plans for Saturday?", "★ New", "The garden edit", "Save £5 now"]
    )
    assert seen.tolist() == [
        [1, 1, 0, 1, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0],
        [0, 1, 0, 1, 0],
    ]


def test_a_draft_that_the_model_has_not_seen_is_ranked_by_what_it_has_in_common_with_texts_that_it_has(trained):
    ranked = rank_subjects(trained.fitted, ["Autumn colours", "★ Autumn colours", "{first_name}, autumn colours"])
    assert ranked["subject"].tolist() == ["{first_name}, autumn colours", "Autumn colours", "★ Autumn colours"]
    assert ranked["rank"].tolist() == [1, 2, 3]
    assert ranked.loc[0, "score"] > 1.1 > 0.9 > ranked.loc[2, "score"]
    assert "the reader's own name" in ranked.loc[0, "reasons"]
    assert np.allclose(ranked["prior_opened"] / (ranked["prior_opened"] + ranked["prior_ignored"]), ranked["open_rate"])


def test_campaigns_that_were_not_seen_are_told_better_than_by_chance_and_by_the_texts_own_history(trained):
    metrics = trained.metrics
    assert metrics["pairwise_log_loss"] < metrics["pairwise_log_loss_history"] < metrics["pairwise_log_loss_chance"]
    assert metrics["pairwise_accuracy"] > 0.75
    assert metrics["effect_personal"] == pytest.approx(1.5, rel=0.12)
    assert metrics["effect_symbol"] == pytest.approx(0.6, rel=0.2)
    assert MODEL.quality(trained.holdout) == metrics["holdout_gain"] > 0.01


def test_what_a_campaign_does_to_all_of_its_texts_changes_nothing():
    """Twice the readers of everything in half of the campaigns, and the same order of texts."""
    table = pd.DataFrame(
        {
            "campaign_id": ["a", "a", "b", "b"],
            "subject": ["one", "other", "one", "other"],
            "delivered": [1000, 1000, 1000, 1000],
            "opened": [100, 120, 400, 480],
        }
    )
    compared = pairwise.pairs(table)
    assert np.allclose(np.log(compared.first_share / (1 - compared.first_share)), np.log(1 / 1.2), atol=2e-3)
    weights = pairwise.fit(np.array([[1.0], [0.0], [1.0], [0.0]]), compared, 1e4)
    assert weights[0] == pytest.approx(np.log(1 / 1.2), abs=2e-3)


def test_no_campaign_is_both_learnt_from_and_measured_on_and_time_goes_forward(shop):
    table = variants(mails(shop, pd.Timestamp(AS_OF)), 20)
    parts = list(pairwise.folds(table))
    assert len(parts) == 4
    for told, asked in parts:
        assert set(table["campaign_id"].iloc[told]).isdisjoint(table["campaign_id"].iloc[asked])
        assert table["started_at"].iloc[told].max() < table["started_at"].iloc[asked].min()


def test_texts_that_do_not_differ_are_said_to_be_alike():
    trained = MODEL.train(emails(lifts={}), AS_OF, Settings(), 1)
    ranked = rank_subjects(trained.fitted, ["New", "{name}, new", "★ New"])
    assert ranked["score"].between(0.9, 1.1).all()


def test_a_shop_with_few_campaigns_says_so_and_still_answers(shop):
    frames = dict(shop, customer_emails=shop["customer_emails"].head(300 * 4))
    trained = MODEL.train(frames, AS_OF, Settings(), 1)
    assert "4 campaigns compare texts" in trained.metrics["fallback"]
    assert set(rank_subjects(trained.fitted, ["a", "b"])["score"]) == {1.0}
    assert (
        rank_preheaders(trained.fitted, "New in", ["New in", "Cups, plates and a kettle for the garden"])
        .loc[0, "preheader"]
        .startswith("Cups")
    )
    kept = MODEL.load(MODEL.dump(trained.fitted))
    pd.testing.assert_frame_equal(
        MODEL.score(kept, frames, AS_OF).rows, MODEL.score(trained.fitted, frames, AS_OF).rows
    )


def test_a_shop_without_mail_is_no_error(shop):
    frames = without_events(shop)
    trained = MODEL.train(frames, AS_OF, Settings(), 1)
    assert set(MODEL.score(trained.fitted, frames, AS_OF).rows["style"]) == {"plain"}
    assert trained.holdout is None
    assert rank_subjects(trained.fitted, []).empty


def test_everybody_is_scored_once_with_a_style(shop, rows):
    assert rows["customer_id"].tolist() == sorted(shop["customer_features"]["customer_id"])
    assert rows["score"].between(0, 0.99).all()
    assert set(rows["style"]) <= {"plain", *text.STYLES}
    assert (rows["style"] == "personal").mean() > 0.9  # what most like: a lift of a half


def test_the_order_of_rows_and_the_company_change_nothing(shop, trained, rows):
    again = MODEL.train(shuffled(shop, 3), AS_OF, Settings(), 2)
    assert MODEL.dump(again.fitted) == MODEL.dump(trained.fitted)
    names = ["c0003", "c0123"]
    few = MODEL.score(trained.fitted, of_customers(shop, names), AS_OF).rows
    pd.testing.assert_frame_equal(few, rows[rows["customer_id"].isin(names)].reset_index(drop=True))


def test_a_version_is_the_same_after_it_was_kept_and_names_nobody(shop, trained, rows):
    artefact = MODEL.dump(trained.fitted)
    kept = MODEL.load(artefact)
    assert MODEL.dump(kept) == artefact
    pd.testing.assert_frame_equal(MODEL.score(kept, shop, AS_OF).rows, rows)
    assert not any(b"c0003" in content for content in artefact.values())
    assert b"_stop_words_id" not in artefact["words.skops"]  # an address: the same fit would have other bytes
    assert sum(MODEL.importance(kept).values()) == pytest.approx(1, abs=1e-3)


def test_names_that_a_provider_wrote_into_subjects_reach_no_artefact(shop):
    frames = dict(shop)
    written = frames["customer_emails"].copy()
    people = np.array(["Anna", "Bert", "Cleo", "Dora", "Egon", "Fritz"])
    number = written["customer_id"].str[1:].astype(int).to_numpy() % len(people)
    written["subject"] = [
        subject.replace("{name}", people[one]) for subject, one in zip(written["subject"], number, strict=True)
    ]
    frames["customer_emails"] = written
    trained = MODEL.train(frames, AS_OF, Settings(minimum_recipients=10), 1)
    content = b"".join(MODEL.dump(trained.fitted).values()).lower()
    assert not any(name.lower().encode() in content for name in people)
    assert trained.metrics["effect_personal"] == pytest.approx(1.5, rel=0.12)
    rows = MODEL.score(trained.fitted, frames, AS_OF).rows
    few = MODEL.score(trained.fitted, of_customers(frames, ["c0003"]), AS_OF).rows
    pd.testing.assert_frame_equal(few, rows[rows["customer_id"] == "c0003"].reset_index(drop=True))


def test_a_text_that_few_got_is_no_variant():
    rows = pd.DataFrame(
        {
            "customer_id": [f"c{number}" for number in range(50)],
            "campaign_id": "a",
            "subject": ["For you"] * 24 + ["For all"] * 24 + ["Dear Mrs Secret"] * 2,
            "delivered_at": pd.Timestamp(AS_OF),
            "opened": 1,
        }
    )
    assert variants(rows, 20)["subject"].tolist() == ["For all", "For you"]


def test_mail_that_has_just_come_is_not_counted_as_ignored(shop):
    late = shop["customer_emails"].assign(delivered_at=pd.Timestamp(AS_OF) - pd.Timedelta(days=1))
    assert mails(dict(shop, customer_emails=late), pd.Timestamp(AS_OF)).empty


# Thompson sampling


def test_without_a_prior_and_without_mail_all_variants_are_alike():
    assert np.allclose(thompson.allocation(np.zeros(4), np.zeros(4), (np.ones(4), np.ones(4))), 0.25)


def test_allocations_are_the_chances_of_being_best():
    opened, delivered = np.array([30, 38, 25]), np.array([100, 110, 90])
    shares = thompson.allocation(opened, delivered, (np.ones(3), np.ones(3)), least=0.0)
    drawn = np.random.default_rng(2).beta(1 + opened, 1 + delivered - opened, (200_000, 3)).argmax(axis=1)
    assert np.allclose(shares, np.bincount(drawn) / 200_000, atol=0.005)


def test_allocations_concentrate_on_the_best_as_mail_comes_back_but_keep_every_variant():
    prior = (np.ones(3), np.ones(3))
    shares = [
        thompson.allocation(np.array([20, 25, 20]) * size, np.array([100, 100, 100]) * size, prior)[1]
        for size in (0, 1, 4, 20, 100)
    ]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(0.96)


def test_the_models_prior_leads_until_results_say_otherwise():
    prior = (np.array([40.0, 50.0]), np.array([160.0, 150.0]))
    first = thompson.allocation(np.zeros(2), np.zeros(2), prior)
    later = thompson.allocation(np.array([300, 200]), np.array([1000, 1000]), prior)
    assert first[1] > 0.8
    assert later[0] > 0.95


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 5000)), min_size=1, max_size=6))
def test_allocations_add_up_to_one_whatever_has_happened(counts):
    opened = np.array([few for few, _ in counts])
    delivered = opened + np.array([more for _, more in counts])
    shares = thompson.allocation(opened, delivered, (np.ones(len(counts)), np.ones(len(counts))))
    assert shares.sum() == pytest.approx(1)
    assert (shares >= 0.02 - 1e-12).all()


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="expected 0 <= opened <= delivered"):
        thompson.allocation(np.array([5]), np.array([4]), (np.ones(1), np.ones(1)))


def test_customers_are_assigned_by_their_own_lot_and_the_propensity_is_the_share():
    names = [f"c{number}" for number in range(20_000)]
    shares = np.array([0.7, 0.2, 0.1])
    variant, propensity = thompson.assign(names, "newsletter-1", shares)
    assert np.allclose(np.bincount(variant) / len(names), shares, atol=0.01)
    assert np.array_equal(propensity, shares[variant])
    assert np.array_equal(thompson.assign(names[::-1], "newsletter-1", shares)[0][::-1], variant)
    assert (thompson.assign(names, "newsletter-2", shares)[0] != variant).mean() > 0.3


# Tastes and preheaders


def test_a_reader_without_opens_has_everybodys_taste_and_one_with_many_their_own():
    styled, opened = np.array([[0.0], [1.0], [100.0]]), np.array([0.0, 1.0, 100.0])
    mail, share = np.array([5.0, 3.0, 300.0]), np.full((3, 1), 1 / 3)
    odds = tastes.log_odds(styled, opened, mail, share, variance=0.2)[:, 0]
    assert odds[0] == 0
    assert 0 < odds[1] < 0.15
    assert odds[2] > 1
    assert (tastes.log_odds(styled, opened, mail, share, variance=0.0) == 0).all()


def test_how_much_readers_differ_is_found_and_is_nothing_where_they_do_not():
    chance = np.random.default_rng(11)
    people, mail = 4000, 60
    flags = chance.random((people, mail)) < 0.4
    for variance in (0.0, 0.25):
        taste = chance.normal(0, np.sqrt(variance), people)[:, None]
        read = chance.random((people, mail)) < 1 / (1 + np.exp(1.0 - flags * taste))
        styled, opened = (read & flags).sum(axis=1)[:, None].astype(float), read.sum(axis=1).astype(float)
        found = tastes.spread(styled, opened, np.full(people, 60.0), flags.mean(axis=1)[:, None])
        assert found == pytest.approx(variance, abs=0.06)


def test_a_preheader_does_not_say_the_subject_again_and_is_about_the_topic(trained):
    candidates = [
        "New in this week: what is new in this week",
        "Teapots, cake stands and jam jars, fresh from the kiln",
        "Garden lights",
        "We thought that you might like to see a few of the things that our buyers have brought home for you again "
        * 2,
    ]
    ranked = rank_preheaders(trained.fitted, "New in this week", candidates, topic="teapots and cake stands")
    assert ranked.loc[0, "preheader"] == candidates[1]
    reasons = ranked.set_index("preheader")["reasons"]
    assert "repeats the subject" in reasons[candidates[0]]
    assert "is too short" in reasons[candidates[2]]
    assert "is too long" in reasons[candidates[3]]


def test_similarity_is_one_for_the_same_text_and_nothing_for_a_foreign_one():
    near = preheader.similarities("New teapots", ["New teapots", "A new teapot", "Garden chairs", ""])
    assert near[0] == pytest.approx(1)
    assert near[0] > near[1] > near[2] >= near[3] == 0


def test_outcomes_wait_until_they_are_known(shop, trained):
    assert MODEL.outcomes(trained.fitted, shop, AS_OF - timedelta(days=7), AS_OF) is None
    became = MODEL.outcomes(trained.fitted, shop, AS_OF - timedelta(days=60), AS_OF)
    assert became["truth"].between(0, 1).all()
    watched = MODEL.inputs(trained.fitted, shop, AS_OF)
    assert (watched["deliveries"] == 20).all()
