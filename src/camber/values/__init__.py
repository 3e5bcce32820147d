"""Value types, their order, keys, ids and encodings. Pure."""
