"""What clients call: `add` here is `tasks:add` to them."""

from camber import AppError, Id, MutationCtx, QueryCtx, mutation, query

from .schema import Task

SHOWN_MAX = 100
TEXT_LENGTH_MAX = 200


@query(name="list")
def list_tasks(ctx: QueryCtx) -> list[Task]:
    """The newest tasks, newest first."""
    return ctx.db.query(Task).order("desc").take(SHOWN_MAX)


@mutation
def add(ctx: MutationCtx, text: str) -> Id[Task]:
    """Add a task and return its id."""
    text = text.strip()
    if not text:
        raise AppError({"code": "EMPTY", "message": "A task needs a few words."})
    if len(text) > TEXT_LENGTH_MAX:
        message = f"A task has at most {TEXT_LENGTH_MAX} characters."
        raise AppError({"code": "TOO_LONG", "message": message})
    return ctx.db.insert(Task(text=text))


@mutation
def toggle(ctx: MutationCtx, task: Id[Task]) -> bool:
    """Mark a task as done, or as not done again; return which."""
    found = ctx.db.get(task)
    if found is None:
        raise AppError({"code": "NO_TASK", "message": "This task does not exist any more."})
    ctx.db.patch(task, done=not found.done)
    return not found.done


@mutation
def remove(ctx: MutationCtx, task: Id[Task]) -> None:
    """Remove a task, if it is still there."""
    if ctx.db.get(task) is not None:
        ctx.db.delete(task)
