"""What the models reach on real data, each beside its baseline."""
