"""Which subject line is opened more: text against text, variants in flight, and each reader's taste."""
