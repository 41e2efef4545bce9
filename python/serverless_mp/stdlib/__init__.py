"""CPython's own modules: their public names in our modules, and their functions over our objects."""
