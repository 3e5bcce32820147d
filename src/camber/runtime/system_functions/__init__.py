"""Queries of the server's own, for admins and their tools (protocol 8.3).

They run like any query, in a transaction that has read which release serves, so their subscribers
are told of a push. `declaring` says what one is, `registry` joins those of the other modules.
"""
