// Written by Camber from the functions' annotations; changes are overwritten.

import type { FunctionReference } from "convex/server";

/** The application's public functions. */
export declare const api: {
  notes: {
    add: FunctionReference<
      "mutation",
      "public",
      { text: string },
      string
    >;
    me: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      string | null
    >;
    texts: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      Array<string>
    >;
  };
};

/** Functions that only the application itself and admins may call. */
export declare const internal: {
  notes: {
    refuse: FunctionReference<
      "mutation",
      "internal",
      Record<string, never>,
      null
    >;
  };
};
