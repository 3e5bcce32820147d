-- What is current, and what was superseded while history is kept.
--
-- A row holds from the commit at `since` on, and one of history until the commit at `until`. So an
-- insert writes no history: whoever reads at an older timestamp passes over what is younger.
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES
  ('format', 4), ('history_floor', 0), ('superseded_floor', 0), ('removed_floor', 0),
  ('history_bytes_floor', 0);

-- Documents in the order in which they were inserted; an update stays in its place.
CREATE TABLE documents (document INTEGER PRIMARY KEY, since INTEGER NOT NULL, value BLOB NOT NULL);

-- The keys of all indexes, by_id among them, and the documents that they lead to.
CREATE TABLE entries (
  index_id INTEGER NOT NULL, key BLOB NOT NULL,
  document INTEGER NOT NULL, since INTEGER NOT NULL,
  PRIMARY KEY (index_id, key)
) WITHOUT ROWID;

-- What a document was before the commit at `until` changed or deleted it. Numbered as written, so
-- that what is to be forgotten stands at the beginning.
CREATE TABLE documents_history (
  superseded INTEGER PRIMARY KEY,
  document INTEGER NOT NULL, until INTEGER NOT NULL, value BLOB NOT NULL
);
CREATE INDEX documents_history_by_document ON documents_history (document, until);

-- Entries that the commit at `until` removed. Numbered likewise.
CREATE TABLE entries_history (
  removed INTEGER PRIMARY KEY,
  index_id INTEGER NOT NULL, key BLOB NOT NULL,
  document INTEGER NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL
);
CREATE INDEX entries_history_by_key ON entries_history (index_id, key, until);

-- The log: one row for each group of commits that became durable at once, under the timestamp of
-- the last. The newest numbers that were given up to there, and about how many bytes of history
-- were written in all. `commits` says of each when, by which function, and which keys.
CREATE TABLE groups (
  ts INTEGER PRIMARY KEY,
  document INTEGER NOT NULL, superseded INTEGER NOT NULL, removed INTEGER NOT NULL,
  history_bytes INTEGER NOT NULL,
  commits BLOB NOT NULL
);
