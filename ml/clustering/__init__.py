"""Choosing the number of clusters, and naming them."""
