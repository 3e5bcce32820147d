"""What runs by itself, and when."""

from camber import Crons

from .messages import clear_all
from .payments import send_payment_email

crons = Crons()

crons.interval("clear messages table", clear_all, minutes=1)

crons.monthly(
    "payment reminder",
    send_payment_email,
    day=1,
    hour_utc=16,
    minute_utc=0,
    args={"email": "my_email@example.com"},
)

# By the clocks of a place, in summer and in winter.
crons.cron("clear messages at night", "30 2 * * *", clear_all, timezone="Europe/Paris")
