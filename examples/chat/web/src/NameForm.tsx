import { type FormEvent, useState } from "react";

export function NameForm({
  initial,
  onChoose,
}: {
  initial: string;
  onChoose: (name: string) => void;
}) {
  const [name, setName] = useState(initial);

  function submit(event: FormEvent) {
    event.preventDefault();
    if (name.trim() !== "") onChoose(name.trim());
  }

  return (
    <main className="welcome">
      <form onSubmit={submit}>
        <label htmlFor="name">What should the others call you?</label>
        <div className="row">
          <input
            id="name"
            value={name}
            onChange={(event) => setName(event.target.value)}
            maxLength={40}
            autoComplete="nickname"
            autoFocus
          />
          <button type="submit" disabled={name.trim() === ""}>
            Start
          </button>
        </div>
      </form>
    </main>
  );
}
