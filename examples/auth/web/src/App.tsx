import { useAuthActions } from "@convex-dev/auth/react";
import { Authenticated, AuthLoading, Unauthenticated } from "convex/react";
import { Failure, FailureBoundary } from "./Failure";
import { Notes } from "./Notes";
import { SignIn } from "./SignIn";

export function App() {
  return (
    <div className="app">
      <header className="top">
        <h1>Camber sign-in</h1>
      </header>
      <AuthLoading>
        <main className="welcome" aria-busy="true">
          <p>Loading…</p>
        </main>
      </AuthLoading>
      <Unauthenticated>
        <SignIn />
      </Unauthenticated>
      <Authenticated>
        <FailureBoundary fallback={(error, retry) => <Refused error={error} onRetry={retry} />}>
          <Notes />
        </FailureBoundary>
      </Authenticated>
    </div>
  );
}

/** Whose session was ended elsewhere has a token still, and needs a way back to the front door. */
function Refused({ error, onRetry }: { error: unknown; onRetry: () => void }) {
  const { signOut } = useAuthActions();
  return (
    <Failure error={error} onRetry={onRetry}>
      <button className="quiet" onClick={() => void signOut()}>
        Sign out
      </button>
    </Failure>
  );
}
