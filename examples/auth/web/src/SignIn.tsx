import { useAuthActions } from "@convex-dev/auth/react";
import { useQuery } from "convex/react";
import { type FormEvent, useState } from "react";
import { api } from "../../backend/_generated/api.js";
import { textOf } from "./Failure";

const NAMES: Record<string, string> = { work: "your company", github: "GitHub", google: "Google" };

/** What the form asks for. The last two want the code of a message that was just sent to `email`. */
type Step = "signIn" | "signUp" | "link" | "reset" | "email-verification" | "reset-verification";

const TITLES: Record<Step, string> = {
  signIn: "Sign in",
  signUp: "Create account",
  link: "Send me a link",
  reset: "Send me a code",
  "email-verification": "Confirm address",
  "reset-verification": "Set password",
};

export function SignIn() {
  const { signIn } = useAuthActions();
  const external = useQuery(api.auth.external, {});
  const [step, setStep] = useState<Step>("signIn");
  const [email, setEmail] = useState("");
  const [notice, setNotice] = useState<string>();
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

  function go(next: Step, said?: string) {
    setStep(next);
    setNotice(said);
    setError(undefined);
  }

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    void attempt(async () => {
      if (step === "link") {
        await signIn("email", form);
        setNotice(`We have sent a link to ${email}.`);
        return;
      }
      form.set("flow", step);
      form.set("email", email);
      const { signingIn } = await signIn("password", form);
      if (signingIn) return;
      const next = step === "reset" ? "reset-verification" : "email-verification";
      go(next, `We have sent a code to ${email}.`);
    });
  }

  const wantsCode = step === "email-verification" || step === "reset-verification";
  const wantsPassword = step === "signIn" || step === "signUp";
  return (
    <main className="welcome">
      <div className="card">
        <form onSubmit={submit}>
          {notice !== undefined && <p role="status">{notice}</p>}
          {!wantsCode && (
            <label>
              E-mail
              <input
                name="email"
                type="email"
                autoComplete="username"
                required
                value={email}
                onChange={(event) => setEmail(event.target.value)}
              />
            </label>
          )}
          {wantsCode && (
            <label>
              Code
              <input name="code" inputMode="numeric" autoComplete="one-time-code" required />
            </label>
          )}
          {wantsPassword && (
            <label>
              Password
              <input
                name="password"
                type="password"
                autoComplete={step === "signIn" ? "current-password" : "new-password"}
                required
              />
            </label>
          )}
          {step === "reset-verification" && (
            <label>
              New password
              <input name="newPassword" type="password" autoComplete="new-password" required />
            </label>
          )}
          <button type="submit" disabled={busy}>
            {TITLES[step]}
          </button>
          <p className="error" role="alert">
            {error}
          </p>
        </form>
        <nav aria-label="Other ways">
          {step !== "signIn" && <Way onChoose={() => go("signIn")}>I have an account</Way>}
          {step !== "signUp" && <Way onChoose={() => go("signUp")}>I am new here</Way>}
          {step !== "link" && <Way onChoose={() => go("link")}>Sign in by a link</Way>}
          {step === "signIn" && <Way onChoose={() => go("reset")}>I forgot my password</Way>}
          {external?.map((id) => (
            <Way key={id} onChoose={() => void attempt(async () => void (await signIn(id)))}>
              Continue with {NAMES[id] ?? id}
            </Way>
          ))}
          <Way onChoose={() => void attempt(async () => void (await signIn("anonymous")))}>
            Look around without a name
          </Way>
        </nav>
      </div>
    </main>
  );
}

function Way({ onChoose, children }: { onChoose: () => void; children: React.ReactNode }) {
  return (
    <button type="button" className="quiet" onClick={onChoose}>
      {children}
    </button>
  );
}
