"""What is done once a month."""

from camber import ActionCtx, MutationCtx, QueryCtx, internal_action, internal_mutation, query

from .schema import Reminder


@internal_action(name="sendPaymentEmail")
async def send_payment_email(ctx: ActionCtx, email: str) -> None:
    """Remind somebody to pay. Here a mail service would be asked, which only an action may."""
    await ctx.run_mutation(note_reminder, email)


@internal_mutation
def note_reminder(ctx: MutationCtx, email: str) -> None:
    ctx.db.insert(Reminder(email=email))


@query
def reminders(ctx: QueryCtx) -> list[Reminder]:
    """The mails that were sent."""
    return ctx.db.query(Reminder).collect()
