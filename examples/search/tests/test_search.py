"""Recipes are found by their words, in order, and by those who have searched before."""

import pytest
from backend.recipes import add, remove, search, suggest

import camber.testing
from camber import AppError


def write_down(app: camber.testing.TestApp) -> None:
    app.mutation(add, title="Crème brûlée", cuisine="French", steps="Whisk eggs. Burn the sugar.")
    app.mutation(add, title="Crème caramel", cuisine="French", steps="Melt sugar. Add milk, eggs.")
    app.mutation(add, title="麻婆豆腐", cuisine="Chinese", steps="Fry the tofu.")
    app.mutation(add, title="Cream of tofu", cuisine="Fusion", steps="Blend tofu, tofu and tofu.")


def titles(app: camber.testing.TestApp, text: str, cuisine: str | None = None) -> list[str]:
    return [recipe.title for recipe in app.query(suggest, text=text, cuisine=cuisine)]


def test_recipes_are_found_while_somebody_types(camber_app: camber.testing.TestApp) -> None:
    write_down(camber_app)
    assert titles(camber_app, "creme br") == ["Crème brûlée", "Crème caramel"]
    assert sorted(titles(camber_app, "cr")) == ["Cream of tofu", "Crème brûlée", "Crème caramel"]
    assert titles(camber_app, "cr", cuisine="Fusion") == ["Cream of tofu"]
    assert titles(camber_app, "豆腐") == ["麻婆豆腐"]
    assert titles(camber_app, "") == []


def test_pages_go_on_in_order(camber_app: camber.testing.TestApp) -> None:
    write_down(camber_app)
    found = []
    cursor, is_done = None, False
    while not is_done:
        page = camber_app.query(
            search, text="tofu sugar", paginationOpts={"numItems": 1, "cursor": cursor}
        )
        found += [recipe.title for recipe in page.page]
        cursor, is_done = page.continue_cursor, page.is_done
    assert len(found) == len(set(found)) == 4
    assert found.index("Cream of tofu") < found.index("麻婆豆腐")


def test_whoever_searches_sees_what_comes_and_goes(camber_app: camber.testing.TestApp) -> None:
    watched = camber_app.subscribe(suggest, text="soup")
    assert watched.value == []
    recipe = camber_app.mutation(add, title="Onion soup", cuisine="French", steps="Slice onions.")
    assert [each.title for each in watched.value] == ["Onion soup"]
    camber_app.mutation(add, title="Bread", cuisine="French", steps="Knead.")
    assert not watched.is_stale
    camber_app.mutation(remove, recipe=recipe)
    assert watched.value == []


def test_a_recipe_has_a_title_and_an_end(camber_app: camber.testing.TestApp) -> None:
    with pytest.raises(AppError, match="needs a title"):
        camber_app.mutation(add, title=" ", cuisine="French", steps="")
    with pytest.raises(AppError, match="5001 characters"):
        camber_app.mutation(add, title="Long", cuisine="French", steps="a" * 5001)
