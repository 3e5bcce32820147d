"""The library of components: what applications would otherwise write themselves, on the public API alone."""
