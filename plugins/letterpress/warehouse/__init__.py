"""The only opener of the warehouse: inputs, builds, published versions, history."""
