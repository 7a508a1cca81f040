"""One missing field of a profile, predicted from the others where that beats a statistic."""
