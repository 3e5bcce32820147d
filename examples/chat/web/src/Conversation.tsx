import {
  insertAtTop,
  optimisticallyUpdateValueInPaginatedQuery,
  useMutation,
  usePaginatedQuery,
} from "convex/react";
import { type FormEvent, type KeyboardEvent, useState } from "react";
import { api } from "../../backend/_generated/api.js";
import type { Doc, Id } from "../../backend/_generated/dataModel.js";
import { textOf } from "../../../look/Failure";

const PAGE = 25;
/** Messages that this browser has made up and the server has not confirmed yet. */
const OPTIMISTIC = "optimistic-";

export function Conversation({ channel, name }: { channel: Doc<"channels">; name: string }) {
  const history = usePaginatedQuery(
    api.messages.history,
    { channel: channel._id },
    { initialNumItems: PAGE },
  );
  const loading = history.status === "LoadingFirstPage";

  return (
    <section className="conversation" aria-label={`#${channel.name}`}>
      <h2># {channel.name}</h2>
      {/* The newest message is first in the document and lowest on the screen. */}
      <ol className="messages" aria-live="polite" aria-busy={loading}>
        {loading && <li className="hint">Loading messages…</li>}
        {!loading && history.results.length === 0 && (
          <li className="hint">Nobody has written here yet. Say hello.</li>
        )}
        {history.results.map((message) => (
          <Message key={message._id} message={message} />
        ))}
        {(history.status === "CanLoadMore" || history.status === "LoadingMore") && (
          <li className="more">
            <button
              className="quiet"
              disabled={history.status === "LoadingMore"}
              onClick={() => history.loadMore(PAGE)}
            >
              {history.status === "LoadingMore" ? "Loading…" : "Load older messages"}
            </button>
          </li>
        )}
      </ol>
      <Composer channel={channel._id} name={name} />
    </section>
  );
}

function Message({ message }: { message: Doc<"messages"> }) {
  const like = useMutation(api.messages.like).withOptimisticUpdate((store, { message: id }) => {
    optimisticallyUpdateValueInPaginatedQuery(
      store,
      api.messages.history,
      { channel: message.channel },
      (each) => (each._id === id ? { ...each, likes: each.likes + 1 } : each),
    );
  });
  const [error, setError] = useState<string>();
  const pending = message._id.startsWith(OPTIMISTIC);
  const time = new Date(message._creationTime);

  return (
    <li className={pending ? "message pending" : "message"}>
      <p className="meta">
        <strong>{message.author}</strong>{" "}
        <time dateTime={time.toISOString()}>
          {time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}
        </time>
      </p>
      <p className="body">{message.body}</p>
      <button
        className="like"
        disabled={pending}
        aria-label={`Like, ${message.likes} so far`}
        onClick={() =>
          like({ message: message._id }).then(
            () => setError(undefined),
            (failure: unknown) => setError(textOf(failure)),
          )
        }
      >
        ♥ {message.likes}
      </button>
      {error !== undefined && (
        <p className="error" role="alert">
          {error}
        </p>
      )}
    </li>
  );
}

function Composer({ channel, name }: { channel: Id<"channels">; name: string }) {
  const [body, setBody] = useState("");
  const [error, setError] = useState<string>();
  const send = useMutation(api.messages.send).withOptimisticUpdate((store, args) => {
    insertAtTop({
      paginatedQuery: api.messages.history,
      argsToMatch: { channel: args.channel },
      localQueryStore: store,
      item: {
        _id: `${OPTIMISTIC}${crypto.randomUUID()}` as Id<"messages">,
        _creationTime: Date.now(),
        channel: args.channel,
        author: args.author,
        body: args.body,
        likes: 0,
      },
    });
  });

  async function submit() {
    const text = body.trim();
    if (text === "") return;
    setBody("");
    try {
      await send({ channel, author: name, body: text });
      setError(undefined);
    } catch (failure) {
      setError(textOf(failure));
      // Not lost: it can be sent again, unless something else is being written by now.
      setBody((current) => (current === "" ? text : current));
    }
  }

  function onKeyDown(event: KeyboardEvent) {
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
      event.preventDefault();
      void submit();
    }
  }

  return (
    <form
      className="composer"
      onSubmit={(event: FormEvent) => {
        event.preventDefault();
        void submit();
      }}
    >
      <p className="error" role="alert">
        {error}
      </p>
      <div className="row">
        <textarea
          aria-label="Message"
          placeholder="Write a message, Enter sends it"
          rows={2}
          maxLength={2000}
          value={body}
          onChange={(event) => setBody(event.target.value)}
          onKeyDown={onKeyDown}
          autoFocus
        />
        <button type="submit" disabled={body.trim() === ""}>
          Send
        </button>
      </div>
    </form>
  );
}
