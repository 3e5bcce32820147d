// Written by Camber from the functions' annotations; changes are overwritten.

import type { FunctionReference } from "convex/server";
import type { Doc, Id } from "./dataModel.js";

/** The application's public functions. */
export declare const api: {
  tasks: {
    /** Add a task and return its id. */
    add: FunctionReference<
      "mutation",
      "public",
      { text: string },
      Id<"tasks">
    >;
    /** The newest tasks, newest first. */
    list: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      Array<Doc<"tasks">>
    >;
    /** Remove a task, if it is still there. */
    remove: FunctionReference<
      "mutation",
      "public",
      { task: Id<"tasks"> },
      null
    >;
    /** Mark a task as done, or as not done again; return which. */
    toggle: FunctionReference<
      "mutation",
      "public",
      { task: Id<"tasks"> },
      boolean
    >;
  };
};

/** Functions that only the application itself and admins may call. */
export declare const internal: {};
