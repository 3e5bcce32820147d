import { useConvexConnectionState, useQuery } from "convex/react";
import { useState } from "react";
import { api } from "../../backend/_generated/api.js";
import { Failure, FailureBoundary } from "../../../look/Failure";
import { Found } from "./Found";
import { NewRecipe } from "./NewRecipe";
import { useKept } from "../../../look/useKept";

/** As much as anybody types into a search; a search looks for 16 words of it. */
const TEXT_LENGTH_MAX = 200;

export function App() {
  return (
    <div className="app">
      <header className="top">
        <h1>Recipes</h1>
        <Offline />
      </header>
      <FailureBoundary fallback={(error, retry) => <Failure error={error} onRetry={retry} />}>
        <Search />
      </FailureBoundary>
    </div>
  );
}

function Search() {
  const cuisines = useKept(useQuery(api.recipes.cuisines, {}));
  const [text, setText] = useState("");
  const [cuisine, setCuisine] = useState<string | null>(null);

  return (
    <main>
      <form role="search" className="row" onSubmit={(event) => event.preventDefault()}>
        <input
          type="search"
          aria-label="Search recipes"
          placeholder="Words of a title, or of what is done"
          value={text}
          maxLength={TEXT_LENGTH_MAX}
          onChange={(event) => setText(event.target.value)}
          autoFocus
        />
        <select
          aria-label="Cuisine"
          value={cuisine ?? ""}
          onChange={(event) => setCuisine(event.target.value || null)}
        >
          <option value="">All cuisines</option>
          {cuisines?.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </select>
      </form>
      <Found text={text} cuisine={cuisine} />
      <NewRecipe cuisines={cuisines ?? []} />
    </main>
  );
}

function Offline() {
  const { isWebSocketConnected, hasEverConnected } = useConvexConnectionState();
  if (isWebSocketConnected || !hasEverConnected) return null;
  return (
    <p className="offline" role="status">
      Offline. What is found may be older.
    </p>
  );
}
