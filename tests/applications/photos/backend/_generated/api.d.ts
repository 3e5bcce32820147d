// Written by Camber from the functions' annotations; changes are overwritten.

import type { FunctionReference } from "convex/server";
import type { GenericId } from "convex/values";

/** The application's public functions. */
export declare const api: {
  files: {
    all_about: FunctionReference<
      "action",
      "public",
      { id: GenericId<"_storage"> },
      Array<string | null>
    >;
    delete: FunctionReference<
      "mutation",
      "public",
      { id: GenericId<"_storage"> },
      null
    >;
    delete_all_then_fail: FunctionReference<
      "mutation",
      "public",
      Record<string, never>,
      null
    >;
    /** Store a file in which each piece of another comes twice. */
    doubled: FunctionReference<
      "action",
      "public",
      { id: GenericId<"_storage"> },
      GenericId<"_storage"> | null
    >;
    doubled_plainly: FunctionReference<
      "action",
      "public",
      { id: GenericId<"_storage"> },
      GenericId<"_storage"> | null
    >;
    listed: FunctionReference<
      "query",
      "public",
      Record<string, never>,
      Array<{ _id: GenericId<"_storage">; _creationTime: number; sha256: string; size: number; contentType: string | null }>
    >;
    metadata: FunctionReference<
      "query",
      "public",
      { id: GenericId<"_storage"> },
      { _id: GenericId<"_storage">; _creationTime: number; sha256: string; size: number; contentType: string | null } | null
    >;
    read: FunctionReference<
      "action",
      "public",
      { id: GenericId<"_storage"> },
      string | null
    >;
    read_twice: FunctionReference<
      "action",
      "public",
      { id: GenericId<"_storage"> },
      null
    >;
    remove: FunctionReference<
      "action",
      "public",
      { id: GenericId<"_storage"> },
      string | null
    >;
    store: FunctionReference<
      "action",
      "public",
      { text: string; content_type?: string | null; sha256?: string | null },
      GenericId<"_storage">
    >;
    store_and_hang: FunctionReference<
      "action",
      "public",
      Record<string, never>,
      null
    >;
    upload_url: FunctionReference<
      "mutation",
      "public",
      Record<string, never>,
      string
    >;
    url: FunctionReference<
      "query",
      "public",
      { id: GenericId<"_storage">; expires?: number | null },
      string | null
    >;
    url_of_any: FunctionReference<
      "query",
      "public",
      { id: string },
      string | null
    >;
  };
};

/** Functions that only the application itself and admins may call. */
export declare const internal: {};
