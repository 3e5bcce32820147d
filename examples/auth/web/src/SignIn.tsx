import { useAuthActions } from "@convex-dev/auth/react";
import { useQuery } from "convex/react";
import { type FormEvent, type InputHTMLAttributes, type ReactNode, useState } from "react";
import { api } from "../../backend/_generated/api.js";
import { NAMES } from "./providers";
import { useAttempt } from "./useAttempt";

type Field = "email" | "password" | "newPassword" | "code" | "invitation";
type Step =
  | "signIn"
  | "signUp"
  | "email-verification"
  | "reset"
  | "reset-verification"
  | "link"
  | "code"
  | "code-verification"
  | "invitation";

/** A form: which provider it is for, what it asks for, and where to go if that sent something. */
type Form = { provider: string; submit: string; fields: Field[]; flow?: true; sends?: Sent };
type Sent = { what: string; next: Step };

const FORMS: Record<Step, Form> = {
  signIn: {
    provider: "password",
    flow: true,
    submit: "Sign in",
    fields: ["email", "password"],
    sends: { what: "code", next: "email-verification" },
  },
  signUp: {
    provider: "password",
    flow: true,
    submit: "Create account",
    fields: ["email", "newPassword"],
    sends: { what: "code", next: "email-verification" },
  },
  "email-verification": {
    provider: "password",
    flow: true,
    submit: "Confirm address",
    fields: ["code"],
  },
  reset: {
    provider: "password",
    flow: true,
    submit: "Send me a code",
    fields: ["email"],
    sends: { what: "code", next: "reset-verification" },
  },
  "reset-verification": {
    provider: "password",
    flow: true,
    submit: "Set password",
    fields: ["code", "newPassword"],
  },
  link: {
    provider: "email",
    submit: "Send me a link",
    fields: ["email"],
    sends: { what: "link", next: "link" },
  },
  code: {
    provider: "email-code",
    submit: "Send me a code",
    fields: ["email"],
    sends: { what: "code", next: "code-verification" },
  },
  "code-verification": { provider: "email-code", submit: "Sign in", fields: ["code"] },
  invitation: { provider: "invitation", submit: "Come in", fields: ["invitation"] },
};

/** What the way to a step is called; there is none to those that want what was just sent. */
const WAYS: [Step, string][] = [
  ["signIn", "I have an account"],
  ["signUp", "I am new here"],
  ["code", "Sign in by a code"],
  ["link", "Sign in by a link"],
  ["reset", "I forgot my password"],
  ["invitation", "I have an invitation"],
];

const INPUTS: Record<Field, InputHTMLAttributes<HTMLInputElement> & { label: string }> = {
  email: { label: "E-mail", type: "email", autoComplete: "username" },
  password: { label: "Password", type: "password", autoComplete: "current-password" },
  newPassword: { label: "New password", type: "password", autoComplete: "new-password" },
  code: { label: "Code", inputMode: "numeric", autoComplete: "one-time-code" },
  invitation: { label: "Invitation", autoComplete: "off" },
};

export function SignIn() {
  const { signIn } = useAuthActions();
  const external = useQuery(api.auth.external, {});
  const [step, setStep] = useState<Step>("signIn");
  const [email, setEmail] = useState("");
  const [notice, setNotice] = useState<string>();
  const { attempt, busy, error, forget } = useAttempt();
  const { provider, flow, submit, fields, sends } = FORMS[step];

  function go(next: Step, said?: string) {
    setStep(next);
    setNotice(said);
    forget();
  }

  function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const params = new FormData(event.currentTarget);
    if (flow) params.set("flow", step);
    if (step !== "invitation") params.set("email", email);
    // Whoever signs up has a new password, which is called as the one they will have.
    if (step === "signUp") params.set("password", String(params.get("newPassword")));
    void attempt(async () => {
      const { signingIn } = await signIn(provider, params);
      if (!signingIn && sends) go(sends.next, `We have sent a ${sends.what} to ${email}.`);
    });
  }

  return (
    <main className="welcome">
      <div className="card">
        <form onSubmit={send}>
          {notice !== undefined && <p role="status">{notice}</p>}
          {fields.map((field) => {
            const { label, ...attributes } = INPUTS[field];
            const shared = field === "email" && {
              value: email,
              onChange: (event: React.ChangeEvent<HTMLInputElement>) => setEmail(event.target.value),
            };
            return (
              <label key={field}>
                {label}
                <input name={field} required {...attributes} {...shared} />
              </label>
            );
          })}
          <button type="submit" disabled={busy}>
            {submit}
          </button>
          <p className="error" role="alert">
            {error}
          </p>
        </form>
        <nav aria-label="Other ways">
          {WAYS.filter(([each]) => each !== step).map(([each, name]) => (
            <Way key={each} onChoose={() => go(each)}>
              {name}
            </Way>
          ))}
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

function Way({ onChoose, children }: { onChoose: () => void; children: ReactNode }) {
  return (
    <button type="button" className="quiet" onClick={onChoose}>
      {children}
    </button>
  );
}
