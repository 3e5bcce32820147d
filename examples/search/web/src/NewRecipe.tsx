import { useMutation } from "convex/react";
import { type FormEvent, useState } from "react";
import { api } from "../../backend/_generated/api.js";
import { textOf } from "../../../look/Failure";

const NOTHING = { title: "", cuisine: "", steps: "" };

export function NewRecipe({ cuisines }: { cuisines: string[] }) {
  const add = useMutation(api.recipes.add);
  const [recipe, setRecipe] = useState(NOTHING);
  const [error, setError] = useState<string>();

  async function submit(event: FormEvent) {
    event.preventDefault();
    try {
      await add(recipe);
      setError(undefined);
      // Unless the next one is being written by now.
      setRecipe((current) => (current === recipe ? NOTHING : current));
    } catch (failure) {
      setError(textOf(failure));
    }
  }

  return (
    <form className="new-recipe" aria-label="New recipe" onSubmit={submit}>
      <h2>Write one down</h2>
      <p className="field">
        <label htmlFor="title">Title</label>
        <input
          id="title"
          value={recipe.title}
          onChange={(event) => setRecipe({ ...recipe, title: event.target.value })}
        />
      </p>
      <p className="field">
        <label htmlFor="cuisine">Its cuisine</label>
        <input
          id="cuisine"
          list="cuisines"
          value={recipe.cuisine}
          onChange={(event) => setRecipe({ ...recipe, cuisine: event.target.value })}
        />
      </p>
      <datalist id="cuisines">
        {cuisines.map((each) => (
          <option key={each} value={each} />
        ))}
      </datalist>
      <p className="field wide">
        <label htmlFor="steps">What is done</label>
        <textarea
          id="steps"
          rows={3}
          value={recipe.steps}
          onChange={(event) => setRecipe({ ...recipe, steps: event.target.value })}
        />
      </p>
      <p className="error" role="alert">
        {error}
      </p>
      <button type="submit">Write down</button>
    </form>
  );
}
