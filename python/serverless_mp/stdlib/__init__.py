"""CPython's own modules: their public names in ours, and their functions over our leaves."""
