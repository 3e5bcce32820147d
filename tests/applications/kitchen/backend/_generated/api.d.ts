// Written by Camber from the functions' annotations; changes are overwritten.

import type { FunctionReference, PaginationOptions, PaginationResult } from "convex/server";
import type { Doc, Id } from "./dataModel.js";

/** The application's public functions. */
export declare const api: {
  actions: {
    catches: FunctionReference<
      "action",
      "public",
      Record<string, never>,
      any
    >;
    double: FunctionReference<
      "action",
      "public",
      { value: number },
      number
    >;
    fails: FunctionReference<
      "action",
      "public",
      Record<string, never>,
      null
    >;
    increment_plain: FunctionReference<
      "action",
      "public",
      { name: string },
      number
    >;
    increment_then_wait: FunctionReference<
      "action",
      "public",
      { name: string; seconds: number },
      number
    >;
    increment_twice: FunctionReference<
      "action",
      "public",
      { name: string },
      Array<number>
    >;
    slow: FunctionReference<
      "action",
      "public",
      { seconds: number },
      null
    >;
    variable: FunctionReference<
      "action",
      "public",
      { name: string },
      string | null
    >;
  };
  articles: {
    add: FunctionReference<
      "mutation",
      "public",
      { title: string; embedding: Array<number> },
      Id<"articles">
    >;
    nearest: FunctionReference<
      "action",
      "public",
      { embedding: Array<number> },
      Array<{ _id: Id<"articles">; _score: number }>
    >;
    nearest_now: FunctionReference<
      "query",
      "public",
      { embedding: Array<number> },
      any
    >;
  };
  counters: {
    increment: FunctionReference<
      "mutation",
      "public",
      { name: string; by?: number },
      number
    >;
    insert_twice: FunctionReference<
      "mutation",
      "public",
      { name: string },
      Id<"counters">
    >;
    read: FunctionReference<
      "query",
      "public",
      { name: string },
      number
    >;
    /** As `read`, but a counter that is not there is an error. */
    strict: FunctionReference<
      "query",
      "public",
      { name: string },
      number
    >;
  };
  errors: {
    app_error: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      null
    >;
    app_error_after_write: FunctionReference<
      "mutation",
      "public",
      { name: string },
      null
    >;
    app_error_null: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      null
    >;
    conflict: FunctionReference<
      "mutation",
      "public",
      Record<string, never>,
      null
    >;
    ends_the_process: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      null
    >;
    logs: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      null
    >;
    not_a_value: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      any
    >;
    plain_error: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      null
    >;
    query_object: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      any
    >;
    two_pages: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      any
    >;
    value_error: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      null
    >;
    wrong_result: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      number
    >;
  };
  notes: {
    add: FunctionReference<
      "mutation",
      "public",
      { board: string; rank: number; text?: string },
      Id<"notes">
    >;
    /** One note that stays, and one whose sub-transaction fails. */
    add_nested: FunctionReference<
      "mutation",
      "public",
      { board: string },
      Array<string>
    >;
    /** Two notes that belong together, and a count of the pairs: a hot document. */
    add_pair: FunctionReference<
      "mutation",
      "public",
      { board: string; rank: number },
      number
    >;
    add_then_fail: FunctionReference<
      "mutation",
      "public",
      { board: string },
      null
    >;
    clear: FunctionReference<
      "mutation",
      "public",
      { board: string },
      number
    >;
    count: FunctionReference<
      "query",
      "public",
      { board: string },
      number
    >;
    edit: FunctionReference<
      "mutation",
      "public",
      { id: Id<"notes">; text: string },
      null
    >;
    get: FunctionReference<
      "query",
      "public",
      { id: Id<"notes"> },
      Doc<"notes"> | null
    >;
    /** The notes of a board, by rank. */
    list: FunctionReference<
      "query",
      "public",
      { board: string; after?: number; limit?: number },
      Array<Doc<"notes">>
    >;
    move: FunctionReference<
      "mutation",
      "public",
      { id: Id<"notes">; rank: number },
      null
    >;
    page: FunctionReference<
      "query",
      "public",
      { board: string; paginationOpts: PaginationOptions },
      PaginationResult<Doc<"notes">>
    >;
    remove: FunctionReference<
      "mutation",
      "public",
      { id: Id<"notes"> },
      null
    >;
    untyped: FunctionReference<
      "query",
      "public",
      { value: any },
      any
    >;
  };
  users: {
    profile: {
      "default": FunctionReference<
        "query",
        "public",
        Record<string, never>,
        string
      >;
      get: FunctionReference<
        "query",
        "public",
        Record<string, never>,
        any
      >;
    };
  };
  values: {
    all: FunctionReference<
      "query",
      "public",
      { table: string },
      Array<any>
    >;
    big: FunctionReference<
      "query",
      "public",
      { value: bigint },
      bigint
    >;
    echo: FunctionReference<
      "query",
      "public",
      { value: any },
      any
    >;
    integer: FunctionReference<
      "query",
      "public",
      { value: number },
      number
    >;
    kinds: FunctionReference<
      "query",
      "public",
      { value: any },
      string
    >;
    load: FunctionReference<
      "query",
      "public",
      { id: Id<"everything"> },
      Doc<"everything"> | null
    >;
    put: FunctionReference<
      "mutation",
      "public",
      { table: string; value: Record<string, any> },
      string
    >;
    real: FunctionReference<
      "query",
      "public",
      { value: number },
      number
    >;
    store: FunctionReference<
      "mutation",
      "public",
      { document: Record<string, any> },
      Id<"everything">
    >;
  };
};

/** Functions that only the application itself and admins may call. */
export declare const internal: {
  notes: {
    secret: FunctionReference<
      "query",
      "internal",
      Record<string, never>,
      string
    >;
  };
};
