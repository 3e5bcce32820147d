import { useAuthActions, useAuthToken } from "@convex-dev/auth/react";
import { useMutation, useQuery } from "convex/react";
import { api } from "../../backend/_generated/api.js";
import { Account } from "./Account";
import { Members } from "./Members";
import { Notes } from "./Notes";

/** The protected page: nobody who is not signed in gets to see it, nor what it asks for. */
export function Home() {
  const { signOut } = useAuthActions();
  const token = useAuthToken();
  const me = useQuery(api.members.me, {});
  const finishOnboarding = useMutation(api.members.finish_onboarding);

  if (me === undefined) return null;
  return (
    <main className="welcome">
      <div className="card">
        <p>
          You are <strong>{me.email ?? me.name ?? "nobody in particular"}</strong>{" "}
          {me.roles.map((role) => (
            <span key={role} className="role">
              {role}
            </span>
          ))}
        </p>
        {token !== null && (
          <small>Your token ends at {endOf(token).toLocaleTimeString()}, and is renewed before.</small>
        )}
        {!me.onboarded && (
          <p role="status">
            Welcome! What you write down here is seen by nobody but you.{" "}
            <button className="quiet" onClick={() => void finishOnboarding()}>
              I see
            </button>
          </p>
        )}
        <Notes />
        {me.roles.length > 0 && <Members me={me} />}
        <Account />
        <button className="quiet" onClick={() => void signOut()}>
          Sign out
        </button>
      </div>
    </main>
  );
}

/** When a token ends; the client gets itself another one before. */
function endOf(token: string): Date {
  const [, body = ""] = token.split(".");
  const claims: unknown = JSON.parse(atob(body.replaceAll("-", "+").replaceAll("_", "/")));
  return new Date((claims as { exp: number }).exp * 1000);
}
