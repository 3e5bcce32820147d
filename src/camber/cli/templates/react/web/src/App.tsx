import { useConvexConnectionState, useMutation, useQuery } from "convex/react";
import { ConvexError } from "convex/values";
import { type FormEvent, useState } from "react";
import { api } from "../../backend/_generated/api.js";
import type { Doc } from "../../backend/_generated/dataModel.js";

export function App() {
  const tasks = useQuery(api.tasks.list, {});
  const left = tasks?.filter((task) => !task.done).length ?? 0;

  return (
    <main>
      <h1>Tasks</h1>
      <Connection />
      <NewTask />
      <ul aria-label="Tasks" aria-busy={tasks === undefined}>
        {tasks?.map((task) => <Task key={task._id} task={task} />)}
      </ul>
      {tasks !== undefined && (
        <p className="hint">
          {tasks.length === 0
            ? "Nothing to do. Add a task, and open this page in a second window."
            : `${left} of ${tasks.length} to do`}
        </p>
      )}
    </main>
  );
}

function NewTask() {
  const add = useMutation(api.tasks.add);
  const [text, setText] = useState("");
  const [problem, setProblem] = useState("");

  async function submit(event: FormEvent) {
    event.preventDefault();
    try {
      await add({ text });
      setText("");
      setProblem("");
    } catch (error) {
      setProblem(textOf(error));
    }
  }

  return (
    <form onSubmit={submit}>
      <input
        aria-label="New task"
        placeholder="What is there to do?"
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      <button>Add</button>
      {problem !== "" && <p role="alert">{problem}</p>}
    </form>
  );
}

function Task({ task }: { task: Doc<"tasks"> }) {
  // The box is ticked at once; the server's answer takes over when it comes.
  const toggle = useMutation(api.tasks.toggle).withOptimisticUpdate((store, { task: id }) => {
    const tasks = store.getQuery(api.tasks.list, {});
    const changed = tasks?.map((each) => (each._id === id ? { ...each, done: !each.done } : each));
    if (changed !== undefined) store.setQuery(api.tasks.list, {}, changed);
  });
  const remove = useMutation(api.tasks.remove);

  return (
    <li className={task.done ? "done" : ""}>
      <label>
        <input type="checkbox" checked={task.done} onChange={() => void toggle({ task: task._id })} />
        <span>{task.text}</span>
      </label>
      <button
        className="quiet"
        aria-label={`Remove ${task.text}`}
        onClick={() => void remove({ task: task._id })}
      >
        ×
      </button>
    </li>
  );
}

function Connection() {
  const { isWebSocketConnected, hasEverConnected } = useConvexConnectionState();
  if (isWebSocketConnected) return null;
  return (
    <p role="status" className="hint">
      {hasEverConnected
        ? "Offline. What you change is sent when the connection is back."
        : "Connecting to the backend: is `camber dev` running?"}
    </p>
  );
}

/** What an AppError of the backend says; anything else is told in its own words. */
function textOf(error: unknown): string {
  if (error instanceof ConvexError) return (error.data as { message: string }).message;
  return error instanceof Error ? error.message : String(error);
}
