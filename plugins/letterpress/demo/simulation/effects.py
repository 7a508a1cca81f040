"""How large every effect is: the laws of the simulated people, fixed before any model was built.

Each constant says its law; the sources, and which digits are chosen, stand in the demo's ``README.md``. Nothing here is
fitted to what a model of Letterpress finds, and a change raises ``simulator.VERSION``.
"""

from enum import IntEnum

import numpy as np


class Message(IntEnum):
    """The kinds of mail that people tell apart."""

    NEWSLETTER = 0
    OFFER = 1
    RECOMMENDATION = 2
    WIN_BACK = 3
    BIRTHDAY = 4
    WELCOME = 5
    THANKS = 6


class Subject(IntEnum):
    """What people notice in a subject line."""

    NAME = 0  # the reader's own
    URGENCY = 1
    QUESTION = 2
    DISCOUNT = 3
    SYMBOL = 4  # an emoji or the like


class Uplift(IntEnum):
    """What a mail does to somebody's purchases."""

    PERSUADABLE = 0  # buys because of it
    SURE_THING = 1  # buys anyway
    LOST_CAUSE = 2  # does not buy because of it
    SLEEPING_DOG = 3  # is driven away by it


# Purchase: beta-geometric with a gamma rate, in days (Fader, Hardie and Lee 2005).
RATE_SHAPE, RATE_SCALE = 0.9, 24.0  # r, alpha
DROPOUT = (0.9, 4.6)  # a, b
BASKET_SHAPE, BASKET_SCALE = 1.6, 1.1  # units beyond the first: Poisson with a gamma mean
FIRST_ORDER_RATE = 0.012  # a day, of those who signed up without buying
BIRTHDAY_DAYS, BIRTHDAY_FACTOR = 7, 1.5  # around a birthday people buy more

# Reading: open ~ beta, click given open ~ beta; both before the factors below.
OPEN = (1.3, 3.0)
CLICK = (1.2, 11.0)
HOUR_EFFECT = 0.25  # share of opens that a mail at the far side of the clock loses
HOUR_WIDTH = 3.0  # hours
SUBJECT_MEANS = np.log(np.array([1.19, 1.02, 1.0, 1.0, 0.94]))  # by Subject: times the opens of the median reader
SUBJECT_SPREADS = np.array([0.12, 0.22, 0.15, 0.2, 0.25])
TOPIC_EFFECT = 0.5  # log-opens between a category that somebody loves and one that they do not care for
CONTENT_EFFECT = np.log(1.62)  # log-clicks between products that fit and products of no interest
BIRTHDAY_OPENS = 1.6  # of a birthday mail in time
WELCOME_OPENS = 1.5
NOT_A_READER = 0.97  # nobody opens more than this share

# Fatigue: the pressure on a mailbox decays by e in so many days, and each mail adds one.
PRESSURE_DAYS = 7.0
TIRED_OPENS = 0.15  # lost log-opens for each unit of weariness and of pressure beyond one
TIRED_LEAVES = 0.45  # more unsubscribes for each unit of pressure beyond one, times weariness

# What mails do: the chance that a visit from a mail ends in an order that would not have been.
CONVERSION = 0.1
PERSUASION = np.array([3.0, 0.15, 0.05, 0.0])  # times the chance, by Uplift
PERSUASION_SPREAD = 0.35  # log-spread between kinds of message within one person
KIND_EFFECTS = np.array([1.0, 1.3, 1.15, 1.1, 1.5, 1.2, 0.8])  # by Message
FIT_CONVERSION = np.log(1.3)  # log-conversion between products that fit and others
DETERRENCE = (0.05, 0.2)  # a sleeping dog's orders lost (as a rate) for each unit of pressure
UPLIFT_SHARES = np.array([0.25, 0.3, 0.35, 0.1])

# Leaving, for each delivered mail.
UNSUBSCRIBES = 0.0011
UNSUBSCRIBES_AFTER_READING = 0.006
DRIVEN_AWAY = 2.5  # times as many sleeping dogs leave
COMPLAINTS = 0.00025
DEAD_AT_SIGN_UP = 0.002  # of mailboxes; others die later
DIES = 0.00027  # of mailboxes, a day
SOFT_BOUNCES = 0.004
MACHINE_READERS = 0.24  # of people: their mail program fetches the pixel at delivery
SCANNED_MAILBOXES = 0.01  # of people: a filter follows every link at delivery
HIDDEN_SCANNERS = 0.5  # of those filters: they look like a browser
VISIT_AFTER_CLICK = 0.86
