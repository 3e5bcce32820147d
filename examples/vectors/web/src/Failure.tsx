import { ConvexError } from "convex/values";
import { Component, type ReactNode } from "react";

/** What to tell a person about an error: the application's own words where it has some. */
export function textOf(error: unknown): string {
  if (error instanceof ConvexError) {
    const data: unknown = error.data;
    if (typeof data === "object" && data !== null && "message" in data) return String(data.message);
  }
  return "That did not work. Please try again.";
}

export function Failure({ error, onRetry }: { error: unknown; onRetry: () => void }) {
  return (
    <main className="welcome">
      <div role="alert">
        <p>{textOf(error)}</p>
        <button onClick={onRetry}>Try again</button>
      </div>
    </main>
  );
}

/** Shows `fallback` in place of what failed to render, such as a query that raised. */
export class FailureBoundary extends Component<
  { children: ReactNode; fallback: (error: unknown, retry: () => void) => ReactNode },
  { error: unknown; failed: boolean }
> {
  override state = { error: undefined as unknown, failed: false };

  static getDerivedStateFromError(error: unknown) {
    return { error, failed: true };
  }

  override render() {
    if (!this.state.failed) return this.props.children;
    return this.props.fallback(this.state.error, () =>
      this.setState({ error: undefined, failed: false }),
    );
  }
}
