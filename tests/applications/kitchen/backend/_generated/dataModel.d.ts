// Written by Camber from the functions' annotations; changes are overwritten.

import type { GenericId } from "convex/values";

/** The documents of each table, as functions return them. */
export interface Documents {
  articles: { _id: Id<"articles">; _creationTime: number; title: string; body: string; embedding: Array<number> | null };
  counters: { _id: Id<"counters">; _creationTime: number; name: string; value: number };
  /** One field of each kind. */
  everything: { _id: Id<"everything">; _creationTime: number; text: string; whole: number; real: number; flag: boolean; nothing: null; raw: ArrayBuffer; big: bigint; anything: any; names: Array<string>; scores: Record<string, number>; mood: "calm" | "wild"; note: Id<"notes"> | null; color: "red" | "blue"; at: number | null; point: { x: number; y: number }; options: { size: number; label?: string } | null; id: string };
  /** A note on a board. */
  notes: { _id: Id<"notes">; _creationTime: number; board: string; rank: number; text: string };
}

/** The names of the declared tables. */
export type TableNames = keyof Documents;

/** The id of a document: a string that knows its table. */
export type Id<TableName extends TableNames> = GenericId<TableName>;

/** A document of a table. */
export type Doc<TableName extends TableNames> = Documents[TableName];
