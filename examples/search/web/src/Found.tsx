import { useMutation, usePaginatedQuery, useQuery } from "convex/react";
import { type ReactNode, useState } from "react";
import { api } from "../../backend/_generated/api.js";
import type { Doc } from "../../backend/_generated/dataModel.js";
import { textOf } from "../../../look/Failure";
import { useKept } from "../../../look/useKept";

const PAGE = 5;

/** What is found, as it is at this moment; without a text, what was written down last. */
export function Found({ text, cuisine }: { text: string; cuisine: string | null }) {
  if (text.trim() === "") return <Newest cuisine={cuisine} />;
  return (
    <>
      <InTitles text={text} cuisine={cuisine} />
      <InSteps text={text} cuisine={cuisine} />
    </>
  );
}

function Newest({ cuisine }: { cuisine: string | null }) {
  const recipes = useKept(useQuery(api.recipes.newest, { cuisine }));
  return <Recipes heading="Written down last" recipes={recipes} />;
}

/** Asked again at each letter; what was found before stays until the answer is there. */
function InTitles({ text, cuisine }: { text: string; cuisine: string | null }) {
  const recipes = useKept(useQuery(api.recipes.suggest, { text, cuisine }));
  return <Recipes heading="In titles" recipes={recipes} />;
}

function InSteps({ text, cuisine }: { text: string; cuisine: string | null }) {
  const found = usePaginatedQuery(
    api.recipes.search,
    { text, cuisine },
    { initialNumItems: PAGE },
  );
  const recipes = useKept(found.status === "LoadingFirstPage" ? undefined : found.results);
  return (
    <Recipes heading="In what is done" recipes={recipes}>
      {(found.status === "CanLoadMore" || found.status === "LoadingMore") && (
        <button
          className="quiet"
          disabled={found.status === "LoadingMore"}
          onClick={() => found.loadMore(PAGE)}
        >
          {found.status === "LoadingMore" ? "Loading…" : "More"}
        </button>
      )}
    </Recipes>
  );
}

function Recipes({
  heading,
  recipes,
  children,
}: {
  heading: string;
  recipes: Doc<"recipes">[] | undefined;
  children?: ReactNode;
}) {
  return (
    <section aria-label={heading} aria-busy={recipes === undefined}>
      <h2>{heading}</h2>
      {recipes?.length === 0 && <p className="hint">Nothing is found.</p>}
      <ol aria-live="polite">
        {recipes?.map((recipe) => (
          <Recipe key={recipe._id} recipe={recipe} />
        ))}
      </ol>
      {children}
    </section>
  );
}

function Recipe({ recipe }: { recipe: Doc<"recipes"> }) {
  const remove = useMutation(api.recipes.remove);
  const [error, setError] = useState<string>();

  return (
    <li className="recipe">
      <h3>{recipe.title}</h3>
      <p className="cuisine">{recipe.cuisine}</p>
      <button
        className="quiet"
        aria-label={`Remove ${recipe.title}`}
        onClick={() =>
          remove({ recipe: recipe._id }).catch((failure: unknown) => setError(textOf(failure)))
        }
      >
        Remove
      </button>
      <p className="steps">{recipe.steps}</p>
      {error !== undefined && (
        <p className="error" role="alert">
          {error}
        </p>
      )}
    </li>
  );
}
