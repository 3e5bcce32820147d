// Written by Camber from the functions' annotations; changes are overwritten.

import type { GenericId } from "convex/values";

/** The documents of each table, as functions return them. */
export interface Documents {
  questions: { _id: Id<"questions">; _creationTime: number; text: string; topic: string; embedding: Array<number> };
}

/** The names of the declared tables. */
export type TableNames = keyof Documents;

/** The id of a document: a string that knows its table. */
export type Id<TableName extends TableNames> = GenericId<TableName>;

/** A document of a table. */
export type Doc<TableName extends TableNames> = Documents[TableName];
