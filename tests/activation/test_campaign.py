"""Campaign mail: what a person reads, who gets it, and that nobody gets it twice."""

import re
import threading
from collections import Counter

import pytest
from activation_line import NOW, person

from letterpress import storage
from letterpress.activation import sends
from letterpress.activation.campaign import Campaign, campaign, campaigns
from letterpress.activation.configuration import ConfigurationError
from letterpress.activation.destinations.spec import DestinationError
from letterpress.activation.mail import MailTemplate, TemplateError
from letterpress.demo.esp import Fault

VALUES = {
    "first_name": "Ada",
    "favourite_category": "Kitchen",
    "loyalty_tier": "Gold",
    "rfm_segment": "Champions",
    "shop_link": "http://127.0.0.1:8090/",
    "category_link": "http://127.0.0.1:8090/c/kitchen",
}


@pytest.fixture
def template():
    one = campaign("champions_thank_you")
    return MailTemplate(one.template, subject=one.subject, preheader=one.preheader)


def test_everybody_of_the_segment_who_may_be_written_to_gets_one_mail(line):
    line.publish(
        person(1),
        person(2, segments="at_risk"),
        person(3).refused("consent_withdrawn"),
        person(4, segments="weekend_browsers,champions"),
        person(5, segments=None),
        person(6, segments="champions_of_old"),
    )
    result = line.send()
    assert (result.audience, result.sent, result.already_sent) == (3, 2, 0)
    assert result.refused == {"consent_withdrawn": 1}
    assert [mail["external_id"] for mail in line.mails()] == ["customer-00001", "customer-00004"]


def test_a_second_run_sends_nothing(line):
    line.publish(person(1), person(2))
    line.send()
    again = line.send()
    assert (again.sent, again.already_sent) == (0, 2)
    assert len(line.mails()) == 2


def test_a_mail_has_both_parts_the_headers_of_its_campaign_and_the_persons_own_words(line):
    line.publish(person(1, first_name="Zoë", favourite_category="Garden", loyalty_tier="silver"))
    line.send()
    message = line.read_mail("customer-00001")
    assert message["Subject"] == "Zoë, this is a thank-you"
    assert message["X-Letterpress-Campaign"] == "champions_thank_you"
    assert message["X-Letterpress-Customer"] == "customer-00001"
    assert message["From"] == "Letterpress Shop <hello@shop.example.com>"
    parts = {part: message.get_body((part,)).get_content() for part in ("plain", "html")}
    for text in parts.values():
        assert "You are one of our very best, Zoë." in text
        assert "Garden" in text
        assert "Silver" in text
        assert "%%unsubscribe_url%%" not in text
        assert f"{line.esp.base_url}/u/" in text
        assert "{{" not in text
    with line.esp.app.state.database.reading() as connection:
        links = [row["url"] for row in connection.execute("select url from links order by number")]
    assert any(link.startswith("http://127.0.0.1:8090/c/garden?utm_source=letterpress") for link in links)


def test_somebody_without_name_category_or_tier_still_reads_whole_sentences(template):
    rendered = template.render(
        {**VALUES, "first_name": "dear friend", "favourite_category": None, "loyalty_tier": None}
    )
    assert rendered.subject == "dear friend, this is a thank-you"
    for text in (rendered.text, rendered.html):
        assert "everything that is new" in text
        assert "not in our loyalty programme yet" in text
        assert "None" not in text


def test_values_are_escaped_in_html_and_cannot_write_headers(template):
    rendered = template.render({**VALUES, "first_name": '<script>"x"</script>\r\nBcc: all@example.com'})
    assert "<script>" not in rendered.html
    assert "&lt;script&gt;" in rendered.html
    assert "\n" not in rendered.subject
    assert "\r" not in rendered.subject


def test_the_mail_is_accessible_and_needs_nothing_from_the_network(template):
    html = template.render(VALUES).html
    assert 'lang="en"' in html
    assert "<title>" in html
    assert "<h1" in html
    assert all('role="presentation"' in table for table in re.findall("<table[^>]*>", html))
    assert "prefers-color-scheme: dark" in html
    assert "fonts.googleapis" not in html
    assert "<img" not in html


def test_somebody_suppressed_after_the_warehouse_was_published_gets_no_mail(line):
    line.publish(person(1), person(2))
    line.suppress(person(1), "unsubscribed")
    result = line.send()
    assert result.refused == {"unsubscribed": 1}
    assert [mail["external_id"] for mail in line.mails()] == ["customer-00002"]


def test_suppression_is_asked_right_before_each_mail(line, monkeypatch):
    line.publish(person(1), person(2))
    begin = sends.begin

    def begin_and_unsubscribe(connection, *ids, **options):
        begun = begin(connection, *ids, **options)
        late.append(person(2))
        return begun

    late: list = []
    monkeypatch.setattr(sends, "begin", begin_and_unsubscribe)
    from letterpress.activation import campaign as module

    send = module.Mailer.send

    def send_then_suppress(self, message, *, key):
        answer = send(self, message, key=key)
        for one in late:
            line.suppress(one, "complained")
        return answer

    monkeypatch.setattr(module.Mailer, "send", send_then_suppress)
    result = line.send()
    assert (result.sent, result.refused) == (1, {"complained": 1})
    assert line.sends()["customer-00002"]["state"] == "refused"
    assert len(line.mails()) == 1


def test_a_recipient_whom_the_destination_refuses_is_recorded_with_the_reason(line):
    line.esp.app.state.suppressions.add(
        [{"email": "person1@example.com", "external_id": None, "reason": "complained"}], "2011-07-01T00:00:00.000Z"
    )
    line.publish(person(1), person(2, email="not an address"), person(3))
    result = line.send()
    assert result.sent == 1
    assert set(result.refused) <= {"suppressed", "smtp_553", "invalid_email"}
    assert sum(result.refused.values()) == 2
    assert line.send().sent == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault(path="smtp", loses_answer=True, times=2),
        Fault(path="smtp", status=451, times=3),
        Fault(path="/api/messages", status=500, times=3),
        Fault(path="/api/messages", status=429, retry_after=2, times=2),
        Fault(path="/api/messages", loses_answer=True, times=2),
    ],
    ids=["answer lost", "try again", "receipt 500", "receipt 429", "receipt lost"],
)
def test_a_bad_day_of_the_provider_sends_one_mail_to_everybody(line, fault):
    line.publish(*(person(number) for number in range(4)))
    line.esp.faults.add(fault)
    assert line.send().sent == 4
    assert Counter(mail["external_id"] for mail in line.mails()).most_common(1)[0][1] == 1
    assert {row["state"] for row in line.sends().values()} == {"accepted"}


def test_a_provider_that_takes_nothing_ends_the_run_and_the_next_one_goes_on(line):
    line.publish(person(1), person(2))
    line.esp.faults.add(Fault(path="smtp", status=451, times=6))
    with pytest.raises(DestinationError, match="after 6 attempts"):
        line.send()
    assert line.mails() == []
    assert line.send().sent == 2


def test_two_runs_at_once_send_one_mail_to_everybody(line):
    line.publish(*(person(number) for number in range(12)))
    results, errors = [], []

    def run():
        try:
            results.append(line.send())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(result.sent for result in results) == 12
    assert Counter(mail["external_id"] for mail in line.mails()) == {f"customer-{n:05d}": 1 for n in range(12)}
    assert {row["state"] for row in line.sends().values()} == {"accepted"}


def test_sends_are_exported_with_the_providers_clock_and_rewritten_only_when_changed(line, tmp_path):
    history = str(tmp_path / "history")
    line.publish(person(2), person(1))
    line.send()
    uri = sends.export_sends(stores_url=line.stores_url, history=history)
    table = storage.read_parquet(uri)
    assert table.column_names == [
        "campaign_id",
        "customer_id",
        "destination",
        "state",
        "accepted_at",
        "message_id",
    ]
    assert table["customer_id"].to_pylist() == ["customer-00001", "customer-00002"]
    assert set(table["accepted_at"].to_pylist()) == {NOW}
    assert table["message_id"].to_pylist() == [
        mail["message_id"] for mail in sorted(line.mails(), key=lambda mail: mail["external_id"])
    ]
    before = storage.filesystem(uri)[0].modified(uri)
    line.send()
    sends.export_sends(stores_url=line.stores_url, history=history)
    assert storage.filesystem(uri)[0].modified(uri) == before
    line.sync(person(1), person(2), person(3))
    line.send()
    sends.export_sends(stores_url=line.stores_url, history=history)
    assert storage.read_parquet(uri).num_rows == 3


def test_an_export_without_any_send_is_an_empty_table(line, tmp_path):
    uri = sends.export_sends(stores_url=line.stores_url, history=str(tmp_path / "history"))
    assert storage.read_parquet(uri).num_rows == 0


def test_every_campaign_that_ships_can_be_rendered():
    for one in campaigns().values():
        rendered = MailTemplate(one.template, subject=one.subject, preheader=one.preheader).render(VALUES)
        assert rendered.subject
        assert rendered.html.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("mjml", "message"),
    [
        ("<mjml><mj-body><mj-section>%%unsubscribe_url%%</mj-body></mjml>", "broken MJML"),
        ("<mjml><mj-body></mj-body></mjml>", "expected the way out"),
        (
            "<mjml><mj-body><mj-section><mj-column><mj-text>{% if %}%%unsubscribe_url%%</mj-text></mj-column>"
            "</mj-section></mj-body></mjml>",
            "broken Liquid",
        ),
    ],
)
def test_a_broken_template_is_refused_by_name_before_anything_leaves(tmp_path, mjml, message):
    (tmp_path / "bad.mjml").write_text(mjml)
    (tmp_path / "bad.txt").write_text("%%unsubscribe_url%%")
    with pytest.raises(TemplateError, match=message) as refused:
        MailTemplate("bad", subject="s", preheader="p", folder=tmp_path)
    assert "bad" in str(refused.value)


def test_a_variable_that_nobody_gives_is_named(tmp_path):
    (tmp_path / "gap.mjml").write_text(
        "<mjml><mj-body><mj-section><mj-column><mj-text>{{ shoe_size }} %%unsubscribe_url%%</mj-text></mj-column>"
        "</mj-section></mj-body></mjml>"
    )
    (tmp_path / "gap.txt").write_text("%%unsubscribe_url%%")
    with pytest.raises(TemplateError, match="shoe_size"):
        MailTemplate("gap", subject="s", preheader="p", folder=tmp_path).render({})


def test_an_unknown_campaign_is_answered_with_the_nearest_name():
    with pytest.raises(ConfigurationError, match="did you mean 'champions_thank_you'"):
        campaign("champion_thank_you")


def test_a_campaign_is_to_one_segment():
    with pytest.raises(ValueError, match="expected one segment key"):
        Campaign.model_validate({**campaign("champions_thank_you").model_dump(), "segment": "a,b"})
