import { useState } from "react";
import { textOf } from "../../../look/Failure";

/** Runs what may fail, once at a time, and keeps what to tell of it. */
export function useAttempt() {
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);

  async function attempt(act: () => Promise<void>) {
    setBusy(true);
    setError(undefined);
    try {
      await act();
    } catch (failure) {
      setError(textOf(failure));
    } finally {
      setBusy(false);
    }
  }

  return { attempt, busy, error, forget: () => setError(undefined) };
}
