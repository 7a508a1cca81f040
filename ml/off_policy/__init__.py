"""What a policy would have earned, told from what another one logged."""
