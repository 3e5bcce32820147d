import { useMutation } from "convex/react";
import { type FormEvent, useState } from "react";
import { api } from "../../backend/_generated/api.js";
import type { Doc, Id } from "../../backend/_generated/dataModel.js";
import { textOf } from "../../../look/Failure";

export function Channels({
  channels,
  current,
  onChoose,
}: {
  channels: Doc<"channels">[] | undefined;
  current: Doc<"channels"> | undefined;
  onChoose: (id: Id<"channels">) => void;
}) {
  return (
    <nav className="channels" aria-label="Channels">
      <ul>
        {channels?.map((channel) => (
          <li key={channel._id}>
            <button
              className="channel"
              aria-current={channel._id === current?._id ? "true" : undefined}
              onClick={() => onChoose(channel._id)}
            >
              # {channel.name}
            </button>
          </li>
        ))}
      </ul>
      <NewChannel onChoose={onChoose} />
    </nav>
  );
}

function NewChannel({ onChoose }: { onChoose: (id: Id<"channels">) => void }) {
  const create = useMutation(api.channels.create);
  const [name, setName] = useState("");
  const [error, setError] = useState<string>();

  async function submit(event: FormEvent) {
    event.preventDefault();
    if (name.trim() === "") return;
    try {
      const id = await create({ name });
      setName("");
      setError(undefined);
      onChoose(id);
    } catch (failure) {
      setError(textOf(failure));
    }
  }

  return (
    <form className="new-channel" onSubmit={submit}>
      <input
        aria-label="Name of a new channel"
        placeholder="New channel"
        value={name}
        maxLength={40}
        onChange={(event) => setName(event.target.value)}
      />
      <button type="submit" aria-label="Open channel" disabled={name.trim() === ""}>
        +
      </button>
      {error !== undefined && (
        <p className="error" role="alert">
          {error}
        </p>
      )}
    </form>
  );
}
