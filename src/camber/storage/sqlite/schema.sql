-- What is current, and what was superseded while history is kept.
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('format', 1), ('history_floor', 0);

-- The documents of each table, by the index key of their id. This is the index by_id.
CREATE TABLE documents (
  table_id INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY (table_id, key)
) WITHOUT ROWID;

-- The keys of every other index. A key ends with the key of the document's id.
CREATE TABLE entries (
  index_id INTEGER NOT NULL, key BLOB NOT NULL,
  PRIMARY KEY (index_id, key)
) WITHOUT ROWID;

-- What a document was before the commit at ts; NULL if it was not there.
CREATE TABLE documents_history (
  table_id INTEGER NOT NULL, key BLOB NOT NULL, ts INTEGER NOT NULL, before BLOB,
  PRIMARY KEY (table_id, key, ts)
) WITHOUT ROWID;

-- Whether an entry was there before the commit at ts, which added or removed it.
CREATE TABLE entries_history (
  index_id INTEGER NOT NULL, key BLOB NOT NULL, ts INTEGER NOT NULL, present INTEGER NOT NULL,
  PRIMARY KEY (index_id, key, ts)
) WITHOUT ROWID;

-- When, by which function, and which keys: all that is needed to follow the log and to trim.
-- history_bytes is about how much it added to history.
CREATE TABLE commits (
  ts INTEGER PRIMARY KEY, source TEXT NOT NULL, writes BLOB NOT NULL, history_bytes INTEGER NOT NULL
);
