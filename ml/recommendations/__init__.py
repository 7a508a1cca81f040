"""Recommendations in two stages: candidates from simple models, and a ranker learned on earlier snapshots."""
