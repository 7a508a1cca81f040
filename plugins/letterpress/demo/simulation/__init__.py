"""A retailer's back office that never was: hidden traits, behaviour day by day, and the rows a shop would show."""
