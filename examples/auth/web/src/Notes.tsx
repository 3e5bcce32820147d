import { useMutation, useQuery } from "convex/react";
import { type FormEvent, useState } from "react";
import { api } from "../../backend/_generated/api.js";
import { useAttempt } from "./useAttempt";

export function Notes() {
  const notes = useQuery(api.notes.mine, {});
  const add = useMutation(api.notes.add);
  const [text, setText] = useState("");
  const { attempt, error } = useAttempt();

  function submit(event: FormEvent) {
    event.preventDefault();
    void attempt(async () => {
      await add({ text });
      setText("");
    });
  }

  return (
    <>
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
    </>
  );
}
