// Written by Camber from the functions' annotations; changes are overwritten.

import type { GenericId } from "convex/values";

/** The documents of each table, as functions return them. */
export interface Documents {
  docs: { _id: Id<"docs">; _creationTime: number; [name: string]: any };
  lists: { _id: Id<"lists">; _creationTime: number; key: string; values: Array<number> };
  rows: { _id: Id<"rows">; _creationTime: number; a: any; b: any; u: any; n: number };
}

/** The names of the declared tables. */
export type TableNames = keyof Documents;

/** The id of a document: a string that knows its table. */
export type Id<TableName extends TableNames> = GenericId<TableName>;

/** A document of a table. */
export type Doc<TableName extends TableNames> = Documents[TableName];
