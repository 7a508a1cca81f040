"""Whom a message moves: learners of effects from randomised experiments, their measures, and whether to use them."""
