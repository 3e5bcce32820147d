// Written by Camber from the functions' annotations; changes are overwritten.

import type { FunctionReference, PaginationOptions, PaginationResult } from "convex/server";
import type { Doc, Id } from "./dataModel.js";

/** The application's public functions. */
export declare const api: {
  recipes: {
    /** Write a recipe down; every search that it belongs to shows it at once. */
    add: FunctionReference<
      "mutation",
      "public",
      { title: string; cuisine: string; steps: string },
      Id<"recipes">
    >;
    /** The cuisines that there are recipes of, each read once. */
    cuisines: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      Array<string>
    >;
    /** What was written down last. */
    newest: FunctionReference<
      "query",
      "public",
      { cuisine?: string | null },
      Array<Doc<"recipes">>
    >;
    /** Take a recipe away. */
    remove: FunctionReference<
      "mutation",
      "public",
      { recipe: Id<"recipes"> },
      null
    >;
    /** The recipes in whose steps one of the words is, page by page. */
    search: FunctionReference<
      "query",
      "public",
      { text: string; paginationOpts: PaginationOptions; cuisine?: string | null },
      PaginationResult<Doc<"recipes">>
    >;
    /** The recipes whose titles have one of the words, best first; the last may be a beginning. */
    suggest: FunctionReference<
      "query",
      "public",
      { text: string; cuisine?: string | null },
      Array<Doc<"recipes">>
    >;
  };
};

/** Functions that only the application itself and admins may call. */
export declare const internal: {
  recipes: {
    /** Write the first recipes down, unless there are some already. */
    fill: FunctionReference<
      "mutation",
      "internal",
      Record<string, never>,
      null
    >;
  };
};
