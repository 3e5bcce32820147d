"""What the demo begins with."""

from camber import MutationCtx, internal_mutation

from .schema import Channel, Message


@internal_mutation
def fill(ctx: MutationCtx) -> None:
    """Make a first channel with two messages, unless there is a channel already."""
    if ctx.db.query(Channel).first() is not None:
        return
    general = ctx.db.insert(Channel(name="general"))
    for author, body in (
        ("Ada", "Welcome! Open this page in a second window and write something."),
        ("Grace", "Every window shows it at once, and nobody has to reload."),
    ):
        ctx.db.insert(Message(channel=general, author=author, body=body))
