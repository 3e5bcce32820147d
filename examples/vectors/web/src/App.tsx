import { useConvexConnectionState, useMutation, useQuery } from "convex/react";
import { type FormEvent, useState } from "react";
import { api } from "../../backend/_generated/api.js";
import { Failure, FailureBoundary, textOf } from "../../../look/Failure";
import { useKept } from "../../../look/useKept";

const TOPICS = ["account", "billing", "delivery"];
const TEXT_LENGTH_MAX = 500;

export function App() {
  return (
    <div className="app">
      <header className="top">
        <h1>Questions</h1>
        <Offline />
      </header>
      <FailureBoundary fallback={(error, retry) => <Failure error={error} onRetry={retry} />}>
        <Asking />
      </FailureBoundary>
    </div>
  );
}

/** A question while it is typed, and below it those that have been asked in other words. */
function Asking() {
  const ask = useMutation(api.questions.ask);
  const [text, setText] = useState("");
  const [topic, setTopic] = useState("account");
  const [shown, setShown] = useState<string[]>([]);
  const [error, setError] = useState<string>();

  async function submit(event: FormEvent) {
    event.preventDefault();
    setError(undefined);
    try {
      await ask({ text, topic });
    } catch (failure) {
      setError(textOf(failure));
    }
  }

  return (
    <main>
      <form className="asking" onSubmit={(event) => void submit(event)}>
        <textarea
          aria-label="Question"
          placeholder="What would you like to know?"
          rows={2}
          value={text}
          maxLength={TEXT_LENGTH_MAX}
          onChange={(event) => setText(event.target.value)}
          autoFocus
        />
        <select aria-label="Topic" value={topic} onChange={(event) => setTopic(event.target.value)}>
          {TOPICS.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </select>
        <button disabled={text.trim() === ""}>Ask</button>
        {error !== undefined && (
          <p className="error" role="alert">
            {error}
          </p>
        )}
      </form>
      <fieldset className="topics">
        <legend>Look among</legend>
        {TOPICS.map((each) => (
          <label key={each}>
            <input
              type="checkbox"
              checked={shown.includes(each)}
              onChange={() => setShown(toggled(shown, each))}
            />
            {each}
          </label>
        ))}
      </fieldset>
      <Alike text={text} topics={shown} />
    </main>
  );
}

const toggled = (all: string[], one: string) =>
  all.includes(one) ? all.filter((each) => each !== one) : [...all, one];

/** Looked for again at each letter; what was found before stays until the answer is there. */
function Alike({ text, topics }: { text: string; topics: string[] }) {
  const remove = useMutation(api.questions.remove);
  const args = { text, topics: topics.length > 0 ? topics : null };
  const found = useKept(useQuery(api.questions.like, args));
  const [error, setError] = useState<string>();

  return (
    <section aria-label="Asked before" aria-busy={found === undefined}>
      <h2>Asked before</h2>
      {found?.length === 0 && <p className="hint">Nothing like it.</p>}
      {error !== undefined && (
        <p className="error" role="alert">
          {error}
        </p>
      )}
      <ol aria-live="polite">
        {found?.map((question) => (
          <li key={question.id} className="question">
            <h3>{question.text}</h3>
            <p className="hint">{question.topic}</p>
            <button
              className="quiet"
              aria-label={`Remove ${question.text}`}
              onClick={() =>
                remove({ question: question.id }).catch((failure: unknown) =>
                  setError(textOf(failure)),
                )
              }
            >
              Remove
            </button>
            <meter
              aria-label={`How much ${question.text} is like it`}
              min={0}
              max={1}
              value={question.score}
            />
          </li>
        ))}
      </ol>
    </section>
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
