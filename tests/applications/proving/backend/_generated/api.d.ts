// Written by Camber from the functions' annotations; changes are overwritten.

import type { FunctionReference, PaginationOptions, PaginationResult } from "convex/server";

/** The application's public functions. */
export declare const api: {
  lists: {
    /** Return several lists as they are at one moment. */
    look: FunctionReference<
      "query",
      "public",
      { keys: Array<string> },
      Array<any>
    >;
    /** Append and read, in this order; return what was read. */
    transact: FunctionReference<
      "mutation",
      "public",
      { operations: Array<any> },
      Array<any>
    >;
  };
  programs: {
    /** One page, for clients that watch it. */
    page: FunctionReference<
      "query",
      "public",
      { spec: any; paginationOpts: PaginationOptions },
      PaginationResult<any>
    >;
    /** Run a program that only reads. */
    read: FunctionReference<
      "query",
      "public",
      { steps: Array<any>; ids: Array<string>; pages: Array<any>; handles?: Record<string, Array<string>> | null },
      any
    >;
    /** Run a program and return what it has seen. */
    write: FunctionReference<
      "mutation",
      "public",
      { steps: Array<any>; ids: Array<string>; pages: Array<any>; handles?: Record<string, Array<string>> | null },
      any
    >;
    /** Run a program and throw all of it away. */
    write_and_fail: FunctionReference<
      "mutation",
      "public",
      { steps: Array<any>; ids: Array<string>; pages: Array<any>; handles?: Record<string, Array<string>> | null },
      null
    >;
  };
};

/** Functions that only the application itself and admins may call. */
export declare const internal: {
  programs: {
    one_page: FunctionReference<
      "query",
      "internal",
      { spec: any; paginationOpts: PaginationOptions },
      PaginationResult<any>
    >;
    step_by_step: FunctionReference<
      "mutation",
      "internal",
      { steps: Array<any>; ids: Array<string>; pages: Array<any>; fails: boolean; handles?: Record<string, Array<string>> | null },
      any
    >;
  };
};
