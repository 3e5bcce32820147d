import { useAuthActions } from "@convex-dev/auth/react";
import { useMutation, useQuery } from "convex/react";
import { type FormEvent, useEffect, useState } from "react";
import { api } from "../../backend/_generated/api.js";
import { NAMES } from "./providers";
import { useAttempt } from "./useAttempt";

/** What somebody signs in by, and where. */
export function Account() {
  const { signIn } = useAuthActions();
  const ways = useQuery(api.account.ways, {});
  const external = useQuery(api.auth.external, {});
  const { attempt, error } = useAttempt();

  return (
    <section>
      <h2>Your account</h2>
      <small>You sign in by</small>
      <ul aria-label="Ways in">
        {ways?.map((id) => (
          <li key={id}>{NAMES[id] ?? id}</li>
        ))}
      </ul>
      {external
        ?.filter((id) => ways && !ways.includes(id))
        .map((id) => (
          <button
            key={id}
            className="quiet"
            onClick={() => void attempt(async () => void (await signIn(id)))}
          >
            Connect {NAMES[id] ?? id}
          </button>
        ))}
      {ways?.includes("password") && <Password />}
      <p className="error" role="alert">
        {error}
      </p>
      <Sessions />
    </section>
  );
}

function Password() {
  const { signIn } = useAuthActions();
  const [done, setDone] = useState(false);
  const { attempt, busy, error } = useAttempt();

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = event.currentTarget;
    const params = new FormData(form);
    params.set("flow", "change");
    setDone(false);
    void attempt(async () => {
      await signIn("password", params);
      form.reset();
      setDone(true);
    });
  }

  return (
    <form onSubmit={submit}>
      <label>
        Current password
        <input name="currentPassword" type="password" autoComplete="current-password" required />
      </label>
      <label>
        New password
        <input name="newPassword" type="password" autoComplete="new-password" required />
      </label>
      <button type="submit" className="quiet" disabled={busy}>
        Change password
      </button>
      {done && <p role="status">It is changed, and you are signed out everywhere else.</p>}
      <p className="error" role="alert">
        {error}
      </p>
    </form>
  );
}

function Sessions() {
  const sessions = useQuery(api.account.sessions, {});
  const nameDevice = useMutation(api.account.name_device);
  const signOutElsewhere = useMutation(api.account.sign_out_elsewhere);
  const isNameless = sessions?.some((each) => each.here && each.device === null);
  useEffect(() => {
    if (isNameless) void nameDevice({ device: navigator.platform });
  }, [isNameless, nameDevice]);

  return (
    <>
      <small>You are signed in on</small>
      <ul aria-label="Sessions">
        {sessions?.map((each) => (
          <li key={each.id}>
            {each.device ?? "a device"}, since {new Date(each.since).toLocaleString()}
            {each.here && " (here)"}
          </li>
        ))}
      </ul>
      {sessions && sessions.length > 1 && (
        <button className="quiet" onClick={() => void signOutElsewhere({})}>
          Sign out everywhere else
        </button>
      )}
    </>
  );
}
