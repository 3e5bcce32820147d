// Written by Camber from the functions' annotations; changes are overwritten.

import type { FunctionReference } from "convex/server";
import type { Id } from "./dataModel.js";

/** The application's public functions. */
export declare const api: {
  questions: {
    /** Ask a question, unless the very same has been asked. */
    ask: FunctionReference<
      "mutation",
      "public",
      { text: string; topic: string },
      Id<"questions">
    >;
    /** The questions that are most like a text, nearest first; whoever watches sees new ones come. */
    like: FunctionReference<
      "query",
      "public",
      { text: string; topics?: Array<string> | null },
      Array<{ id: Id<"questions">; text: string; topic: string; score: number }>
    >;
    /** The questions that are like another, as it goes with a model or a service: in an action. */
    related: FunctionReference<
      "action",
      "public",
      { question: Id<"questions"> },
      Array<string>
    >;
    /** Take a question away. */
    remove: FunctionReference<
      "mutation",
      "public",
      { question: Id<"questions"> },
      null
    >;
  };
};

/** Functions that only the application itself and admins may call. */
export declare const internal: {
  questions: {
    text_of: FunctionReference<
      "query",
      "internal",
      { question: Id<"questions"> },
      string
    >;
    /** The texts of hits; one may be gone since it was found. */
    texts_of: FunctionReference<
      "query",
      "internal",
      { hits: Array<{ _id: Id<"questions">; _score: number }> },
      Array<string>
    >;
  };
};
