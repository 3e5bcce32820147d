"""What runs by itself: scheduled functions and cron jobs.

Knows when something is due and starts it, sees to it that it runs as often as was promised, and
notes what came of it. What is due is read from the store, where a mutation's own transaction has
put it (`camber.engine.scheduled`); nothing is kept in memory but what runs.
"""
