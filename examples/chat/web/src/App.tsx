import { useConvexConnectionState, useQuery } from "convex/react";
import { useState } from "react";
import { api } from "../../backend/_generated/api.js";
import type { Doc } from "../../backend/_generated/dataModel.js";
import { Channels } from "./Channels";
import { Conversation } from "./Conversation";
import { Failure, FailureBoundary } from "../../../look/Failure";
import { NameForm } from "./NameForm";
import { useStored } from "./useStored";

export function App() {
  const [name, setName] = useStored("camber-chat-name");
  const [renaming, setRenaming] = useState(false);
  const choosing = name === "" || renaming;

  return (
    <div className="app">
      <header className="top">
        <h1>Camber chat</h1>
        {!choosing && (
          <button className="quiet" onClick={() => setRenaming(true)}>
            You are <strong>{name}</strong>
          </button>
        )}
      </header>
      <Offline />
      {choosing ? (
        <NameForm
          initial={name}
          onChoose={(chosen) => {
            setName(chosen);
            setRenaming(false);
          }}
        />
      ) : (
        <FailureBoundary fallback={(error, retry) => <Failure error={error} onRetry={retry} />}>
          <Chat name={name} />
        </FailureBoundary>
      )}
    </div>
  );
}

function Chat({ name }: { name: string }) {
  const channels = useQuery(api.channels.list, {});
  const [chosen, setChosen] = useStored("camber-chat-channel");
  const channel = pick(channels, chosen);

  return (
    <main className="chat">
      <Channels channels={channels} current={channel} onChoose={(id) => setChosen(id)} />
      {channel === undefined ? (
        <section className="conversation" aria-busy={channels === undefined}>
          <p className="hint">
            {channels === undefined ? "Loading channels…" : "Open the first channel to begin."}
          </p>
        </section>
      ) : (
        <Conversation key={channel._id} channel={channel} name={name} />
      )}
    </main>
  );
}

function pick(channels: Doc<"channels">[] | undefined, id: string) {
  return channels?.find((channel) => channel._id === id) ?? channels?.[0];
}

/** A line over the page while the server cannot be reached; it takes no room from the rest. */
function Offline() {
  const { isWebSocketConnected, hasEverConnected } = useConvexConnectionState();
  if (isWebSocketConnected || !hasEverConnected) return null;
  return (
    <p className="offline" role="status">
      Offline. What you write is sent when the connection is back.
    </p>
  );
}
