"""Recipes that are found while somebody types."""

from camber import (
    AppError,
    Id,
    MutationCtx,
    Page,
    PaginationOpts,
    QueryCtx,
    gt,
    internal_mutation,
    mutation,
    query,
)

from .schema import Recipe

SHOWN_MAX = 10
CUISINES_MAX = 100
TEXT_LENGTH_MAX = 5000
FIRST_RECIPES = [
    ("Crème brûlée", "French", "Whisk yolks, cream and sugar. Bake in water. Burn sugar on top."),
    ("Crêpes", "French", "Whisk eggs, milk and flour. Let it rest. Fry them thin."),
    (
        "Soupe à l'oignon",
        "French",
        "Brown the onions slowly. Add broth. Bake with bread and cheese.",
    ),
    ("麻婆豆腐", "Chinese", "Fry pork with bean paste and pepper. Add broth and tofu. Thicken."),
    (
        "담백한 두부조림",
        "Korean",
        "Fry tofu until brown. Braise it in soy sauce, garlic and chili.",
    ),
    ("Şakşuka", "Turkish", "Fry aubergines and peppers. Add tomatoes and garlic. Serve cold."),
    ("Käsespätzle", "German", "Beat eggs and flour. Press into water. Layer with cheese, onions."),
    ("Φασολάδα", "Greek", "Soak the beans. Cook with tomatoes, carrots, celery and oil."),
    ("ต้มยำกุ้ง", "Thai", "Boil lemongrass and lime leaves. Add prawns, chili and lime."),
]


@query
def suggest(ctx: QueryCtx, text: str, cuisine: str | None = None) -> list[Recipe]:
    """The recipes whose titles have one of the words, best first; the last may be a beginning."""
    titles = ctx.db.query(Recipe).with_search_index(Recipe.search_title, text, _of(cuisine))
    return titles.take(SHOWN_MAX)


@query
def search(
    ctx: QueryCtx, text: str, opts: PaginationOpts, cuisine: str | None = None
) -> Page[Recipe]:
    """The recipes in whose steps one of the words is, page by page."""
    steps = ctx.db.query(Recipe).with_search_index(Recipe.search_steps, text, _of(cuisine))
    return steps.paginate(opts)


@query
def newest(ctx: QueryCtx, cuisine: str | None = None) -> list[Recipe]:
    """What was written down last."""
    recipes = ctx.db.query(Recipe)
    if cuisine is not None:
        recipes = recipes.with_index(Recipe.by_cuisine, cuisine=cuisine)
    return recipes.order("desc").take(SHOWN_MAX)


@query
def cuisines(ctx: QueryCtx) -> list[str]:
    """The cuisines that there are recipes of, each read once."""
    found: list[str] = []
    while len(found) < CUISINES_MAX:
        after = {"cuisine": gt(found[-1])} if found else {}
        next_one = ctx.db.query(Recipe).with_index(Recipe.by_cuisine, after).first()
        if next_one is None:
            break
        found.append(next_one.cuisine)
    return found


def _of(cuisine: str | None) -> dict[str, str]:
    return {} if cuisine is None else {"cuisine": cuisine}


@mutation
def add(ctx: MutationCtx, title: str, cuisine: str, steps: str) -> Id[Recipe]:
    """Write a recipe down; every search that it belongs to shows it at once."""
    if not title.strip():
        raise AppError({"code": "NO_TITLE", "message": "A recipe needs a title."})
    for text in (title, cuisine, steps):
        if len(text) > TEXT_LENGTH_MAX:
            message = f"{len(text)} characters are too many; there is room for {TEXT_LENGTH_MAX}."
            raise AppError({"code": "TOO_LONG", "message": message})
    return ctx.db.insert(Recipe(title=title.strip(), cuisine=cuisine.strip(), steps=steps))


@mutation
def remove(ctx: MutationCtx, recipe: Id[Recipe]) -> None:
    """Take a recipe away."""
    ctx.db.delete(recipe)


@internal_mutation
def fill(ctx: MutationCtx) -> None:
    """Write the first recipes down, unless there are some already."""
    if ctx.db.query(Recipe).first() is None:
        for title, cuisine, steps in FIRST_RECIPES:
            ctx.db.insert(Recipe(title=title, cuisine=cuisine, steps=steps))
