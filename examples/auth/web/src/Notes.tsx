import { useAuthActions, useAuthToken } from "@convex-dev/auth/react";
import { useMutation, useQuery } from "convex/react";
import { type FormEvent, useState } from "react";
import { api } from "../../backend/_generated/api.js";
import { textOf } from "./Failure";

/** The protected page: nobody who is not signed in gets to see it, nor what it asks for. */
export function Notes() {
  const { signOut } = useAuthActions();
  const token = useAuthToken();
  const me = useQuery(api.members.me, {});
  const notes = useQuery(api.notes.mine, {});
  const add = useMutation(api.notes.add);
  const [text, setText] = useState("");
  const [error, setError] = useState<string>();

  async function submit(event: FormEvent) {
    event.preventDefault();
    try {
      await add({ text });
      setText("");
      setError(undefined);
    } catch (failure) {
      setError(textOf(failure));
    }
  }

  return (
    <main className="welcome">
      <div className="card">
        <p>
          You are <strong>{me?.email ?? me?.name ?? "nobody in particular"}</strong>
          {token !== null && <>, until {endOf(token).toLocaleTimeString()}</>}.
        </p>
        <form className="row" onSubmit={submit}>
          <input
            aria-label="New note"
            placeholder="Only you see what you write here"
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
          <button type="submit">Keep</button>
        </form>
        <p className="error" role="alert">
          {error}
        </p>
        <ul aria-label="Notes" aria-busy={notes === undefined}>
          {notes?.map((note) => (
            <li key={note._id}>{note.text}</li>
          ))}
        </ul>
        {me?.roles.includes("admin") && <Members />}
        <button className="quiet" onClick={() => void signOut()}>
          Sign out
        </button>
      </div>
    </main>
  );
}

/** For administrators. Whoever else asked would be refused. */
function Members() {
  const members = useQuery(api.members.newest, {});
  return (
    <ul aria-label="Members">
      {members?.map((each) => (
        <li key={each._id}>{each.email ?? each.name ?? "nobody in particular"}</li>
      ))}
    </ul>
  );
}

/** When a token ends; the client gets itself another one before. */
function endOf(token: string): Date {
  const [, body = ""] = token.split(".");
  const claims: unknown = JSON.parse(atob(body.replaceAll("-", "+").replaceAll("_", "/")));
  return new Date((claims as { exp: number }).exp * 1000);
}
