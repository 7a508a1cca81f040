"""How often customers buy and what they spend: the probability models of customer lifetime value."""
