"""Propensities: how likely a customer is to do something soon, from what was known at an instant."""
