-- Every statement of the SQLite store, under its name. `VALUES (?, ?)` stands for any number of rows.

-- name: newest
-- The newest group: its timestamp, and how many entries had been removed by then.
SELECT coalesce(max(ts), 0), coalesce(removed, 0) FROM groups

-- name: removed_by
-- How many entries had been removed at a timestamp, or fewer; none if history begins there.
SELECT coalesce(max(ts), 0), coalesce(removed, 0) FROM groups WHERE ts <= ?1

-- name: floor
-- Snapshots older than this are gone.
SELECT value FROM meta WHERE name = 'history_floor'

-- Reading at a timestamp: what is current if it was so then, else as it was before its first change
-- since. What is in no index any more has to be looked for only if something was removed since.

-- name: get
SELECT CASE WHEN d.since <= ?3 THEN d.value ELSE (
  SELECT h.value FROM documents_history AS h
  WHERE h.document = d.document AND h.until > ?3 ORDER BY h.until LIMIT 1
) END
FROM entries AS e CROSS JOIN documents AS d ON d.document = e.document
WHERE e.index_id = ?1 AND e.key = ?2 AND e.since <= ?3

-- name: get_removed
SELECT (
  SELECT h.value FROM documents_history AS h
  WHERE h.document = r.document AND h.until > ?3 ORDER BY h.until LIMIT 1
)
FROM (
  SELECT document, since FROM entries_history
  WHERE index_id = ?1 AND key = ?2 AND until > ?3 ORDER BY until LIMIT 1
) AS r WHERE r.since <= ?3

-- name: scan_asc
SELECT e.key, CASE WHEN d.since <= ?5 THEN d.value ELSE (
  SELECT h.value FROM documents_history AS h
  WHERE h.document = d.document AND h.until > ?5 ORDER BY h.until LIMIT 1
) END
FROM entries AS e CROSS JOIN documents AS d ON d.document = e.document
WHERE e.index_id = ?1 AND e.key >= ?2 AND e.key < ?3 AND e.since <= ?5
ORDER BY e.key LIMIT ?4

-- name: scan_desc
SELECT e.key, CASE WHEN d.since <= ?5 THEN d.value ELSE (
  SELECT h.value FROM documents_history AS h
  WHERE h.document = d.document AND h.until > ?5 ORDER BY h.until LIMIT 1
) END
FROM entries AS e CROSS JOIN documents AS d ON d.document = e.document
WHERE e.index_id = ?1 AND e.key >= ?2 AND e.key < ?3 AND e.since <= ?5
ORDER BY e.key DESC LIMIT ?4

-- With removed entries. If few were removed since, all of those are looked at (_recent), wherever
-- they stood; else all that were ever removed in the interval.

-- name: scan_recent_asc
SELECT p.key, coalesce(
  (SELECT d.value FROM documents AS d WHERE d.document = p.document AND d.since <= ?5),
  (SELECT h.value FROM documents_history AS h
   WHERE h.document = p.document AND h.until > ?5 ORDER BY h.until LIMIT 1)
)
FROM (
  SELECT key, document FROM entries
  WHERE index_id = ?1 AND key >= ?2 AND key < ?3 AND since <= ?5
  UNION ALL
  SELECT key, document FROM entries_history NOT INDEXED
  WHERE removed > ?6 AND index_id = ?1 AND key >= ?2 AND key < ?3 AND since <= ?5 AND until > ?5
  ORDER BY key LIMIT ?4
) AS p ORDER BY p.key

-- name: scan_recent_desc
SELECT p.key, coalesce(
  (SELECT d.value FROM documents AS d WHERE d.document = p.document AND d.since <= ?5),
  (SELECT h.value FROM documents_history AS h
   WHERE h.document = p.document AND h.until > ?5 ORDER BY h.until LIMIT 1)
)
FROM (
  SELECT key, document FROM entries
  WHERE index_id = ?1 AND key >= ?2 AND key < ?3 AND since <= ?5
  UNION ALL
  SELECT key, document FROM entries_history NOT INDEXED
  WHERE removed > ?6 AND index_id = ?1 AND key >= ?2 AND key < ?3 AND since <= ?5 AND until > ?5
  ORDER BY key DESC LIMIT ?4
) AS p ORDER BY p.key DESC

-- name: scan_removed_asc
SELECT p.key, coalesce(
  (SELECT d.value FROM documents AS d WHERE d.document = p.document AND d.since <= ?5),
  (SELECT h.value FROM documents_history AS h
   WHERE h.document = p.document AND h.until > ?5 ORDER BY h.until LIMIT 1)
)
FROM (
  SELECT key, document FROM entries
  WHERE index_id = ?1 AND key >= ?2 AND key < ?3 AND since <= ?5
  UNION ALL
  SELECT key, document FROM entries_history INDEXED BY entries_history_by_key
  WHERE index_id = ?1 AND key >= ?2 AND key < ?3 AND since <= ?5 AND until > ?5
  ORDER BY key LIMIT ?4
) AS p ORDER BY p.key

-- name: scan_removed_desc
SELECT p.key, coalesce(
  (SELECT d.value FROM documents AS d WHERE d.document = p.document AND d.since <= ?5),
  (SELECT h.value FROM documents_history AS h
   WHERE h.document = p.document AND h.until > ?5 ORDER BY h.until LIMIT 1)
)
FROM (
  SELECT key, document FROM entries
  WHERE index_id = ?1 AND key >= ?2 AND key < ?3 AND since <= ?5
  UNION ALL
  SELECT key, document FROM entries_history INDEXED BY entries_history_by_key
  WHERE index_id = ?1 AND key >= ?2 AND key < ?3 AND since <= ?5 AND until > ?5
  ORDER BY key DESC LIMIT ?4
) AS p ORDER BY p.key DESC

-- name: count
SELECT count(*) FROM entries WHERE index_id = ?1 AND since <= ?2

-- name: count_removed
SELECT count(*) FROM entries_history NOT INDEXED
WHERE removed > ?3 AND index_id = ?1 AND since <= ?2 AND until > ?2

-- The keys that were there at a timestamp and are no more, or are there again: if few entries were
-- removed since (_recently), all of those are looked at.

-- name: gone_recently
SELECT key FROM entries_history NOT INDEXED
WHERE removed > ?3 AND index_id = ?1 AND since <= ?2 AND until > ?2

-- name: gone
SELECT key FROM entries_history INDEXED BY entries_history_by_key
WHERE index_id = ?1 AND since <= ?2 AND until > ?2

-- name: groups_after
SELECT commits FROM groups WHERE ts > ?1 ORDER BY ts

-- name: documents_of_commit
-- The keys of all documents of a table that a commit changed.
SELECT key FROM entries WHERE index_id = ?1 AND since = ?2
UNION SELECT key FROM entries_history WHERE index_id = ?1 AND (since = ?2 OR until = ?2) LIMIT ?3

-- Writing. OR ROLLBACK where nothing can be in the way: a statement that could fail alone keeps a copy
-- of each page that it changes, which costs more than the change.

-- name: resume
-- The newest group, and the newest numbers. Staged documents may be above the group's.
SELECT coalesce(max(ts), 0), max(coalesce(document, 0), (SELECT coalesce(max(document), 0) FROM documents)),
  coalesce(superseded, 0), coalesce(removed, 0), coalesce(history_bytes, 0) FROM groups

-- name: entries_there
WITH asked (index_id, key) AS (VALUES (?, ?))
SELECT e.index_id, e.key, e.document, e.since
FROM asked AS a CROSS JOIN entries AS e ON e.index_id = a.index_id AND e.key = a.key

-- name: put_documents
INSERT OR REPLACE INTO documents (document, since, value) VALUES (?, ?, ?)

-- name: delete_documents
WITH gone (document) AS (VALUES (?))
DELETE FROM documents WHERE document IN (SELECT document FROM gone)

-- name: put_entries
INSERT OR ROLLBACK INTO entries (index_id, key, document, since) VALUES (?, ?, ?, ?)

-- name: delete_entries
WITH gone (index_id, key) AS (VALUES (?, ?))
DELETE FROM entries WHERE (index_id, key) IN (SELECT index_id, key FROM gone)

-- name: add_documents_history
INSERT OR ROLLBACK INTO documents_history (superseded, document, until, value)
VALUES (?, ?, ?, ?)

-- name: add_entries_history
INSERT OR ROLLBACK INTO entries_history (removed, index_id, key, document, since, until)
VALUES (?, ?, ?, ?, ?, ?)

-- name: add_group
INSERT INTO groups (ts, document, superseded, removed, history_bytes, commits)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)

-- name: build_entries
-- Of documents that are there and have no such entry yet.
WITH built (index_id, key, by_id, id) AS (VALUES (?, ?, ?, ?))
INSERT OR IGNORE INTO entries (index_id, key, document, since)
SELECT b.index_id, b.key, e.document, 0
FROM built AS b CROSS JOIN entries AS e ON e.index_id = b.by_id AND e.key = b.id

-- name: drop_entries
DELETE FROM entries WHERE index_id = ?1
AND key IN (SELECT key FROM entries WHERE index_id = ?1 ORDER BY key LIMIT ?2)

-- name: drop_entries_history
DELETE FROM entries_history
WHERE removed IN (SELECT removed FROM entries_history WHERE index_id = ?1 LIMIT ?2)

-- Trimming.

-- name: oldest_groups
SELECT ts, superseded, removed, history_bytes, commits FROM groups
WHERE ts <= ?1 AND ts < (SELECT max(ts) FROM groups) ORDER BY ts LIMIT ?2

-- name: delete_groups
DELETE FROM groups WHERE ts <= ?1

-- name: set_meta
UPDATE meta SET value = ?2 WHERE name = ?1

-- name: meta
SELECT value FROM meta WHERE name = ?1

-- name: trim_documents_history
DELETE FROM documents_history WHERE superseded <= ?1
AND superseded < (SELECT min(superseded) FROM documents_history) + ?2

-- name: trim_entries_history
DELETE FROM entries_history WHERE removed <= ?1
AND removed < (SELECT min(removed) FROM entries_history) + ?2

-- Staged entries stand under the negative ids of their indexes, where no snapshot looks. Documents
-- hold from 0 on: it is their entries that let them in.

-- name: staged_keys
SELECT key FROM entries WHERE index_id = -?1 AND key > ?2 ORDER BY key LIMIT ?3

-- name: staged_among
WITH asked (index_id, key) AS (VALUES (?, ?))
SELECT a.key FROM asked AS a CROSS JOIN entries AS e ON e.index_id = a.index_id AND e.key = a.key

-- name: staged_and_there
SELECT s.key FROM entries AS s
JOIN entries AS e ON e.index_id = ?1 AND e.key = s.key WHERE s.index_id = -?1 LIMIT 1

-- name: unstage_documents
-- The indexes by_id are the even ones below those that are declared.
DELETE FROM documents WHERE document IN (
  SELECT document FROM entries WHERE index_id < 0 AND index_id > -(1 << 33) AND index_id % 2 = 0
)

-- name: unstage_entries
DELETE FROM entries WHERE index_id < 0

-- name: supersede_documents
-- All documents of an index by_id.
INSERT INTO documents_history (superseded, document, until, value)
SELECT ?3 + row_number() OVER (ORDER BY e.key), d.document, ?2, d.value
FROM entries AS e CROSS JOIN documents AS d ON d.document = e.document WHERE e.index_id = ?1

-- name: delete_superseded_documents
DELETE FROM documents WHERE document IN (SELECT document FROM entries WHERE index_id = ?1)

-- name: remove_entries
INSERT INTO entries_history (removed, index_id, key, document, since, until)
SELECT ?3 + row_number() OVER (ORDER BY key), index_id, key, document, since, ?2
FROM entries WHERE index_id = ?1

-- name: let_in
INSERT INTO entries (index_id, key, document, since)
SELECT ?1, key, document, ?2 FROM entries WHERE index_id = -?1

-- name: clear
DELETE FROM entries WHERE index_id = ?1

-- name: size_of_documents
SELECT coalesce(sum(length(value)), 0) FROM documents_history WHERE superseded > ?1

-- name: size_of_entries
SELECT coalesce(sum(length(key)), 0) FROM entries_history WHERE removed > ?1
