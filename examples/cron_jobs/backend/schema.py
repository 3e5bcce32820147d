from camber import Table


class Message(Table, table="messages"):
    author: str
    body: str


class Reminder(Table, table="reminders"):
    """A mail that would have been sent."""

    email: str
