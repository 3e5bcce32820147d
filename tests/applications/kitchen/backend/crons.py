from camber import Crons

from .counters import increment

# On days that hardly ever come: tests that use this application count what else runs.
crons = Crons()
crons.cron("leap day", "0 12 29 2 *", increment, args={"name": "days"})
crons.cron("mornings", "0 9 29 2 *", increment, args={"name": "work"}, timezone="Europe/Paris")
