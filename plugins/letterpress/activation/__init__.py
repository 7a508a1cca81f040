"""What leaves the house: plan, apply, ledger, live suppression, campaigns."""
