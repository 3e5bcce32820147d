"""Intervals, read and write sets, conflicts, subscriptions, cursors. Pure.

One idea carries both isolation and reactivity: a commit touches a read set if one of the index
keys that it removed or added lies in one of the intervals that were read. A transaction that is
touched runs again; a subscription that is touched is stale.
"""
