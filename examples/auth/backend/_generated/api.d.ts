// Written by Camber from the functions' annotations; changes are overwritten.

import type { FunctionReference } from "convex/server";
import type { Doc, Id } from "./dataModel.js";

/** The application's public functions. */
export declare const api: {
  account: {
    /** Say what the caller's session runs on, once. */
    name_device: FunctionReference<
      "mutation",
      "public",
      { device: string },
      null
    >;
    /** Where the caller is signed in. */
    sessions: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      Array<{ id: Id<"authSessions">; since: number; device: string | null; here: boolean }>
    >;
    /** End all sessions of the caller but this one. */
    sign_out_elsewhere: FunctionReference<
      "mutation",
      "public",
      Record<string, never>,
      null
    >;
    /** The providers that the caller can sign in by. */
    ways: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      Array<string>
    >;
  };
  auth: {
    /** The providers of others that this deployment has an id for. */
    external: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      Array<string>
    >;
    /** Return whether somebody is signed in. */
    isAuthenticated: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      boolean
    >;
    /** Sign in, go on with signing in, or take a refresh token for new tokens. */
    signIn: FunctionReference<
      "action",
      "public",
      { provider?: string; params?: any; verifier?: string; refreshToken?: string; calledBy?: string },
      Record<string, any>
    >;
    /** End the session of who calls. */
    signOut: FunctionReference<
      "action",
      "public",
      Record<string, never>,
      null
    >;
  };
  invitations: {
    /** Invite somebody; return the code, which nobody is told again. */
    invite: FunctionReference<
      "action",
      "public",
      { name: string; roles: Array<"admin" | "support"> },
      string
    >;
  };
  members: {
    /** Remember that the caller has been shown around. */
    finish_onboarding: FunctionReference<
      "mutation",
      "public",
      Record<string, never>,
      null
    >;
    /** Who calls. */
    me: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      Doc<"users">
    >;
    /** Who has come last. */
    newest: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      Array<Doc<"users">>
    >;
    /** Give somebody these roles, and no others. Their page shows it at once. */
    set_roles: FunctionReference<
      "mutation",
      "public",
      { member: Id<"users">; roles: Array<"admin" | "support"> },
      null
    >;
  };
  notes: {
    /** Write a note down. */
    add: FunctionReference<
      "mutation",
      "public",
      { text: string },
      null
    >;
    /** The caller's newest notes. */
    mine: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      Array<Doc<"notes">>
    >;
  };
};

/** Functions that only the application itself and admins may call. */
export declare const internal: {
  auth: {
    /** Make a code for an account and send it, if there is one. */
    sendCode: FunctionReference<
      "action",
      "internal",
      { provider: string; verification: string; address: string; back: string },
      null
    >;
    /** Carry out what an action of signing in needs. */
    store: FunctionReference<
      "mutation",
      "internal",
      { operation: { user_id: string; hash: string; session_id?: string | null; known?: { provider: string; account_id: string; attempt: string } | null; type?: "signIn" } | { type?: "signOut" } | { token_id: string; session_id: string; hash: string; child_hash: string; child_nonce: string; type?: "refresh" } | { code_hash: string; params: Record<string, any>; hash: string; verifier?: string | null; provider?: string | null; type?: "redeemCode" } | { type?: "beginFlow" } | { verifier: string; signature: string; type?: "signFlow" } | { provider: string; account_id: string; fields: Record<string, any>; email_proven: boolean; signature: string; code_hash: string; type?: "endFlow" } | { provider: string; address: string; code_hash: string; type?: "startVerification" } | { provider: string; address: string; type?: "takeSending" } | { provider: string; account_provider: string; account_id: string; code_hash: string; type?: "codeForAccount" } | { provider: string; account_id: string; type?: "takeAttempt" } | { known: { provider: string; account_id: string; attempt: string }; type?: "succeeded" } | { provider: string; account_id: string; secret: string | null; fields: Record<string, any>; email_awaited?: boolean; email_proven?: boolean; type?: "createAccount" } | { provider: string; account_id: string; type?: "getAccount" } | { provider: string; account_id: string; secret: string; type?: "replaceSecret" } | { provider: string; account_id: string; secret: string; contest_ms: number; type?: "claimSecret" } | { provider: string; account_id: string; code_provider: string; code_hash: string; secret: string; hash: string; type?: "resetPassword" } | { provider: string; account_id: string; secret: string; hash: string; type?: "changePassword" } | { provider: string; type?: "ownAccount" } | { user_id: string; keep?: Array<string>; type?: "invalidateSessions" } },
      any
    >;
    /** Delete sessions, tokens and codes that have had their time. */
    sweep: FunctionReference<
      "mutation",
      "internal",
      Record<string, never>,
      null
    >;
    /** Return for how many seconds an access token is good. */
    tokenLifetime: FunctionReference<
      "query",
      "internal",
      Record<string, never>,
      number
    >;
  };
  invitations: {
    /** Make a user of whoever has an invitation, which is used up. */
    accept: FunctionReference<
      "mutation",
      "internal",
      { code_hash: string },
      Id<"users"> | null
    >;
    /** Keep an invitation. */
    keep: FunctionReference<
      "mutation",
      "internal",
      { name: string; roles: Array<"admin" | "support">; code_hash: string },
      null
    >;
  };
  members: {
    /** Make the first administrator, whose address is proven: `camber run members:promote`. */
    promote: FunctionReference<
      "mutation",
      "internal",
      { email: string },
      null
    >;
  };
};
