from activation_line import person


def test_first_sync_creates_everybody_and_the_second_sends_nothing(line):
    first = line.sync(person(1), person(2), person(3).refused("no_consent"))
    assert first.accepted == 2
    assert set(line.at_esp()) == {"customer-00001", "customer-00002"}
    again = line.plan()
    assert again.counts["unchanged"] == 2
    assert again.refused == {"no_consent": 1}
    assert line.apply(again).requests == 0
