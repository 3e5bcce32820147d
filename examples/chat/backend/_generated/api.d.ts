// Written by Camber from the functions' annotations; changes are overwritten.

import type { FunctionReference, PaginationOptions, PaginationResult } from "convex/server";
import type { Doc, Id } from "./dataModel.js";

/** The application's public functions. */
export declare const api: {
  channels: {
    /** Open a channel and return its id. */
    create: FunctionReference<
      "mutation",
      "public",
      { name: string },
      Id<"channels">
    >;
    /** All channels, by name. */
    list: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      Array<Doc<"channels">>
    >;
  };
  messages: {
    /** The messages of a channel, the newest first, page by page. */
    history: FunctionReference<
      "query",
      "public",
      { channel: Id<"channels">; paginationOpts: PaginationOptions },
      PaginationResult<Doc<"messages">>
    >;
    /** Like a message and return how many likes it has. */
    like: FunctionReference<
      "mutation",
      "public",
      { message: Id<"messages"> },
      number
    >;
    /** Write a message and return its id. */
    send: FunctionReference<
      "mutation",
      "public",
      { channel: Id<"channels">; author: string; body: string },
      Id<"messages">
    >;
  };
};

/** Functions that only the application itself and admins may call. */
export declare const internal: {
  demo: {
    /** Make a first channel with two messages, unless there is a channel already. */
    fill: FunctionReference<
      "mutation",
      "internal",
      Record<string, never>,
      null
    >;
  };
};
