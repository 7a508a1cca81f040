"""What the destination ``files`` is made of: folders here or far away, tables in files, and what was said in them."""
