import { useAction, useMutation, useQuery } from "convex/react";
import { type FormEvent, useState } from "react";
import { api } from "../../backend/_generated/api.js";
import type { Doc } from "../../backend/_generated/dataModel.js";
import { useAttempt } from "./useAttempt";

type Member = Doc<"users">;

/** For the staff; what it offers is for administrators. Whoever else asked would be refused. */
export function Members({ me }: { me: Member }) {
  const members = useQuery(api.members.newest, {});
  const setRoles = useMutation(api.members.set_roles);
  const isAdmin = me.roles.includes("admin");
  const { attempt, error } = useAttempt();

  const change = (member: Member) => {
    const roles = member.roles.includes("support")
      ? member.roles.filter((role) => role !== "support")
      : [...member.roles, "support" as const];
    void attempt(async () => void (await setRoles({ member: member._id, roles })));
  };

  return (
    <section>
      <h2>Members</h2>
      <ul aria-label="Members">
        {members?.map((each) => (
          <li key={each._id}>
            {each.email ?? each.name ?? "nobody in particular"}
            {isAdmin && (
              <label>
                support
                <input
                  type="checkbox"
                  checked={each.roles.includes("support")}
                  onChange={() => change(each)}
                />
              </label>
            )}
          </li>
        ))}
      </ul>
      <p className="error" role="alert">
        {error}
      </p>
      {isAdmin && <Invite />}
    </section>
  );
}

function Invite() {
  const invite = useAction(api.invitations.invite);
  const [name, setName] = useState("");
  const [code, setCode] = useState<string>();
  const { attempt, busy, error } = useAttempt();

  function submit(event: FormEvent) {
    event.preventDefault();
    void attempt(async () => {
      setCode(await invite({ name, roles: ["support"] }));
      setName("");
    });
  }

  return (
    <>
      <form className="row" onSubmit={submit}>
        <input
          aria-label="Name of whom to invite"
          placeholder="Invite somebody to the support"
          value={name}
          onChange={(event) => setName(event.target.value)}
        />
        <button type="submit" disabled={busy}>
          Invite
        </button>
      </form>
      {code !== undefined && (
        <p role="status">
          They come in once by <code>{code}</code>
        </p>
      )}
      <p className="error" role="alert">
        {error}
      </p>
    </>
  );
}
