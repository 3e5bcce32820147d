import { useAuthActions } from "@convex-dev/auth/react";
import { Authenticated, AuthLoading, Unauthenticated } from "convex/react";
import { useEffect } from "react";
import { codeOf, Failure, FailureBoundary } from "../../../look/Failure";
import { Home } from "./Home";
import { SignIn } from "./SignIn";

export function App() {
  return (
    <div className="app">
      <header className="top">
        <h1>Camber sign-in</h1>
      </header>
      <AuthLoading>
        <Loading />
      </AuthLoading>
      <Unauthenticated>
        <SignIn />
      </Unauthenticated>
      <Authenticated>
        <FailureBoundary fallback={(error, retry) => <Refused error={error} onRetry={retry} />}>
          <Home />
        </FailureBoundary>
      </Authenticated>
    </div>
  );
}

function Loading() {
  return (
    <main className="welcome" aria-busy="true">
      <p>Loading…</p>
    </main>
  );
}

/** A session that was ended elsewhere has left its tokens in this browser, which are given up here. */
function Refused({ error, onRetry }: { error: unknown; onRetry: () => void }) {
  const { signOut } = useAuthActions();
  const isOver = codeOf(error) === "Unauthenticated";
  useEffect(() => {
    if (isOver) void signOut();
  }, [isOver, signOut]);
  return isOver ? <Loading /> : <Failure error={error} onRetry={onRetry} />;
}
