// Written by Camber from the functions' annotations; changes are overwritten.

import type { FunctionReference } from "convex/server";
import type { Doc } from "./dataModel.js";

/** The application's public functions. */
export declare const api: {
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
  members: {
    /** Who calls, or nobody. */
    me: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      Doc<"users"> | null
    >;
    /** Who has come last. */
    newest: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      Array<Doc<"users">>
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
      { operation: { user_id: string; hash: string; session_id?: string | null; bucket?: string | null; type?: "signIn" } | { type?: "signOut" } | { token_id: string; session_id: string; hash: string; child_hash: string; child_nonce: string; type?: "refresh" } | { code_hash: string; params: Record<string, any>; hash: string; verifier?: string | null; provider?: string | null; type?: "redeemCode" } | { type?: "beginFlow" } | { verifier: string; signature: string; type?: "signFlow" } | { provider: string; account_id: string; fields: Record<string, any>; email_proven: boolean; signature: string; code_hash: string; type?: "endFlow" } | { provider: string; address: string; code_hash: string; type?: "startVerification" } | { address: string; type?: "takeSending" } | { provider: string; account_provider: string; account_id: string; code_hash: string; type?: "codeForAccount" } | { provider: string; account_id: string; type?: "takeAttempt" } | { bucket: string; type?: "succeeded" } | { provider: string; account_id: string; secret: string | null; fields: Record<string, any>; email_awaited?: boolean; email_proven?: boolean; type?: "createAccount" } | { provider: string; account_id: string; type?: "getAccount" } | { provider: string; account_id: string; secret: string; only_unclaimed?: boolean; type?: "replaceSecret" } | { provider: string; account_id: string; code_provider: string; code_hash: string; secret: string; hash: string; type?: "resetPassword" } | { provider: string; account_id: string; secret: string; hash: string; type?: "changePassword" } | { provider: string; type?: "ownAccount" } | { user_id: string; keep?: Array<string>; type?: "invalidateSessions" } },
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
  members: {
    /** Make somebody an administrator, whose address is proven: `camber run members:promote`. */
    promote: FunctionReference<
      "mutation",
      "internal",
      { email: string },
      null
    >;
  };
};
