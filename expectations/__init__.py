"""What must be true of every batch that crosses a boundary: suites as typed lists, and their runner."""
