"""Text search without a store: words of texts, keys of text indexes, scores, and overlays."""
