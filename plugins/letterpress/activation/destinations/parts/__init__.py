"""What is too large for the file of a destination's module: one file or folder a vendor."""
