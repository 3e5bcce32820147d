"""Recipes that are found while somebody types."""

from camber import (
    AppError,
    Id,
    MutationCtx,
    Page,
    PaginationOpts,
    QueryCtx,
    mutation,
    query,
)

from .schema import Recipe

SHOWN_MAX = 10
TEXT_LENGTH_MAX = 5000


@query
def suggest(ctx: QueryCtx, text: str, cuisine: str | None = None) -> list[Recipe]:
    """The recipes whose titles have one of the words, best first; the last may be a beginning."""
    where = {} if cuisine is None else {"cuisine": cuisine}
    return ctx.db.query(Recipe).with_search_index(Recipe.search_title, text, where).take(SHOWN_MAX)


@query
def search(ctx: QueryCtx, text: str, opts: PaginationOpts) -> Page[Recipe]:
    """The recipes in whose steps one of the words is, page by page."""
    return ctx.db.query(Recipe).with_search_index(Recipe.search_steps, text).paginate(opts)


@mutation
def add(ctx: MutationCtx, title: str, cuisine: str, steps: str) -> Id[Recipe]:
    """Write a recipe down; every search that it belongs to shows it at once."""
    if not title.strip():
        raise AppError({"code": "NO_TITLE", "message": "A recipe needs a title."})
    if len(steps) > TEXT_LENGTH_MAX:
        message = f"{len(steps)} characters are too many; a recipe may have {TEXT_LENGTH_MAX}."
        raise AppError({"code": "TOO_LONG", "message": message})
    return ctx.db.insert(Recipe(title=title.strip(), cuisine=cuisine, steps=steps))


@mutation
def remove(ctx: MutationCtx, recipe: Id[Recipe]) -> None:
    """Take a recipe away."""
    ctx.db.delete(recipe)
