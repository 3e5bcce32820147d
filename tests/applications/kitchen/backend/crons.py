from camber import Crons

from .counters import increment

crons = Crons()
crons.interval("tick", increment, args={"name": "ticks"}, minutes=5)
crons.daily("noon", increment, args={"name": "days"}, hour_utc=12, minute_utc=0)
crons.cron("weekdays", "0 9 * * 1-5", increment, args={"name": "work"}, timezone="Europe/Paris")
