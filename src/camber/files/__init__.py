"""Blobs: bytes of any length under a key, in a folder, in memory or in a bucket.

What a file is, who may see it and whether it is there is said by documents (`engine.file_ledger`),
never by a blob: one that no document speaks of is nothing.
"""
