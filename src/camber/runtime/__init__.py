"""Running functions: executors, the query cache, single flight, retries, log lines.

Above the engine and the application's functions, below whatever asks for them to be run. A query
is run once for all who ask for it and its result is shared until a commit touches what it read; a
mutation is run until it commits; an action is run once.
"""
