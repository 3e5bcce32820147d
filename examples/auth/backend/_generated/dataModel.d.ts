// Written by Camber from the functions' annotations; changes are overwritten.

import type { GenericId } from "convex/values";

/** The documents of each table, as functions return them. */
export interface Documents {
  /** A way in for a user: an account at a provider. `secret` is the hash of a password. */
  authAccounts: { _id: Id<"authAccounts">; _creationTime: number; userId: Id<"users">; provider: string; providerAccountId: string; secret: string | null; claimTime: number | null; emailVerified: string | null; phoneVerified: string | null };
  /** That somebody has signed in to an account from an address, both as one hash. */
  authKnownAddresses: { _id: Id<"authKnownAddresses">; _creationTime: number; identifier: string; lastTime: number };
  /** A bucket of attempts, which is full where there is no document. */
  authRateLimits: { _id: Id<"authRateLimits">; _creationTime: number; identifier: string; lastAttemptTime: number; attemptsLeft: number };
  /**
   * A refresh token: a tree of them belongs to a session, each the child of the one it replaces.
   *
   * `hash` is of its secret. That is made of its parent's and of `nonce`, which is forgotten with
   * the first use: until then whoever has the parent can be given the same token again.
   */
  authRefreshTokens: { _id: Id<"authRefreshTokens">; _creationTime: number; sessionId: Id<"authSessions">; expirationTime: number; firstUsedTime: number | null; parentRefreshTokenId: Id<"authRefreshTokens"> | null; hash: string | null; nonce: string | null };
  authSessions: { _id: Id<"authSessions">; _creationTime: number; userId: Id<"users">; expirationTime: number; device: string | null };
  /**
   * A code that was sent to somebody, or to a browser at the end of an OAuth flow; its SHA-256.
   *
   * It is of an account, or of a flow whose account is looked for or made when it is redeemed.
   */
  authVerificationCodes: { _id: Id<"authVerificationCodes">; _creationTime: number; accountId: Id<"authAccounts"> | null; flow: { providerAccountId: string; fields: Record<string, any>; emailProven: boolean; sessionId: Id<"authSessions"> | null } | null; provider: string; code: string; expirationTime: number; verifier: string | null; emailVerified: string | null; phoneVerified: string | null };
  /** An OAuth flow that a browser has begun; `signature` is the SHA-256 of what its cookies hold. */
  authVerifiers: { _id: Id<"authVerifiers">; _creationTime: number; sessionId: Id<"authSessions"> | null; signature: string | null };
  /** A way in for one person. Its code is not kept, only the SHA-256 of it. */
  invitations: { _id: Id<"invitations">; _creationTime: number; code_hash: string; name: string; roles: Array<"admin" | "support"> };
  notes: { _id: Id<"notes">; _creationTime: number; owner: Id<"users">; text: string };
  /** What signing in stores of people, and what this application adds. */
  users: { _id: Id<"users">; _creationTime: number; name: string | null; image: string | null; email: string | null; emailVerificationTime: number | null; phone: string | null; phoneVerificationTime: number | null; isAnonymous: boolean | null; roles: Array<"admin" | "support">; onboarded: boolean };
}

/** The names of the declared tables. */
export type TableNames = keyof Documents;

/** The id of a document: a string that knows its table. */
export type Id<TableName extends TableNames> = GenericId<TableName>;

/** A document of a table. */
export type Doc<TableName extends TableNames> = Documents[TableName];
