-- Every statement of the SQLite store, under its name.

-- name: newest
-- The timestamp of the newest commit.
SELECT coalesce(max(ts), 0) FROM commits

-- name: floor
-- Snapshots older than this are gone.
SELECT value FROM meta WHERE name = 'history_floor'

-- name: get
-- A document as it is now.
SELECT value FROM documents WHERE table_id = ?1 AND key = ?2

-- name: get_superseded
-- A document as it was before its first change after a timestamp.
SELECT before FROM documents_history WHERE table_id = ?1 AND key = ?2 AND ts > ?3 ORDER BY ts LIMIT 1

-- name: scan_documents_asc
SELECT key, value FROM documents
WHERE table_id = ?1 AND key >= ?2 AND key < ?3 ORDER BY key LIMIT ?4

-- name: scan_documents_desc
SELECT key, value FROM documents
WHERE table_id = ?1 AND key >= ?2 AND key < ?3 ORDER BY key DESC LIMIT ?4

-- name: scan_entries_asc
-- The document of an entry is named by the end of its key.
SELECT e.key, d.value FROM entries AS e
CROSS JOIN documents AS d ON d.table_id = ?1 AND d.key = substr(e.key, ?6)
WHERE e.index_id = ?5 AND e.key >= ?2 AND e.key < ?3 ORDER BY e.key LIMIT ?4

-- name: scan_entries_desc
SELECT e.key, d.value FROM entries AS e
CROSS JOIN documents AS d ON d.table_id = ?1 AND d.key = substr(e.key, ?6)
WHERE e.index_id = ?5 AND e.key >= ?2 AND e.key < ?3 ORDER BY e.key DESC LIMIT ?4

-- name: entry_keys_asc
SELECT key FROM entries WHERE index_id = ?1 AND key >= ?2 AND key < ?3 ORDER BY key LIMIT ?4

-- name: entry_keys_desc
SELECT key FROM entries WHERE index_id = ?1 AND key >= ?2 AND key < ?3 ORDER BY key DESC LIMIT ?4

-- name: document_keys_asc
SELECT key FROM documents WHERE table_id = ?1 AND key >= ?2 AND key < ?3 ORDER BY key LIMIT ?4

-- name: document_keys_desc
SELECT key FROM documents WHERE table_id = ?1 AND key >= ?2 AND key < ?3 ORDER BY key DESC LIMIT ?4

-- name: entries_superseded
-- Which keys that changed after a timestamp were there before their first change.
SELECT key, present, min(ts) FROM entries_history
WHERE index_id = ?1 AND key >= ?2 AND key < ?3 AND ts > ?4 GROUP BY key

-- name: count_entries
SELECT count(*) FROM entries WHERE index_id = ?1

-- name: count_vanished
-- How many more entries there were before their first change after a timestamp than there are now.
SELECT coalesce(sum(was - is_now), 0) FROM (
  SELECT h.present AS was, min(h.ts),
         EXISTS (SELECT 1 FROM entries AS e WHERE e.index_id = ?1 AND e.key = h.key) AS is_now
  FROM entries_history AS h WHERE h.index_id = ?1 AND h.ts > ?2 GROUP BY h.key
)

-- name: documents_superseded
SELECT key, before IS NOT NULL, min(ts) FROM documents_history
WHERE table_id = ?1 AND key >= ?2 AND key < ?3 AND ts > ?4 GROUP BY key

-- name: put_document
INSERT OR REPLACE INTO documents (table_id, key, value) VALUES (?1, ?2, ?3)

-- name: delete_document
DELETE FROM documents WHERE table_id = ?1 AND key = ?2

-- name: put_entry
INSERT OR IGNORE INTO entries (index_id, key) VALUES (?1, ?2)

-- name: delete_entry
DELETE FROM entries WHERE index_id = ?1 AND key = ?2

-- name: add_document_history
INSERT INTO documents_history (table_id, key, ts, before) VALUES (?1, ?2, ?3, ?4)

-- name: add_entry_history
INSERT INTO entries_history (index_id, key, ts, present) VALUES (?1, ?2, ?3, ?4)

-- name: add_commit
INSERT INTO commits (ts, source, writes, history_bytes) VALUES (?1, ?2, ?3, ?4)

-- name: tail
SELECT ts, source, writes FROM commits WHERE ts > ?1 ORDER BY ts

-- name: touched_since
SELECT writes FROM commits WHERE ts > ?1 LIMIT ?2

-- name: oldest_commits
SELECT ts, writes, history_bytes FROM commits
WHERE ts <= ?1 AND ts < (SELECT max(ts) FROM commits) ORDER BY ts LIMIT ?2

-- name: history_bytes
-- Read once, when the store is opened.
SELECT coalesce(sum(history_bytes), 0) FROM commits

-- name: delete_commits
DELETE FROM commits WHERE ts <= ?1

-- name: delete_document_history
DELETE FROM documents_history WHERE table_id = ?1 AND key = ?2 AND ts = ?3

-- name: delete_entry_history
DELETE FROM entries_history WHERE index_id = ?1 AND key = ?2 AND ts = ?3

-- name: set_floor
UPDATE meta SET value = ?1 WHERE name = 'history_floor'

-- name: drop_entries
DELETE FROM entries WHERE index_id = ?1
AND key IN (SELECT key FROM entries WHERE index_id = ?1 ORDER BY key LIMIT ?2)

-- name: drop_entries_history
DELETE FROM entries_history WHERE index_id = ?1
AND key IN (SELECT key FROM entries_history WHERE index_id = ?1 ORDER BY key LIMIT ?2)

-- Staged rows stand under the negative ids of their table and its indexes, where no snapshot looks.

-- name: stage_document
INSERT INTO documents (table_id, key, value) VALUES (-?1, ?2, ?3)

-- name: stage_entry
INSERT INTO entries (index_id, key) VALUES (-?1, ?2)

-- name: staged_document_keys
SELECT key FROM documents WHERE table_id = -?1 AND key > ?2 ORDER BY key LIMIT ?3

-- name: staged_entry_keys
SELECT key FROM entries WHERE index_id = -?1 AND key > ?2 ORDER BY key LIMIT ?3

-- name: staged_and_there
SELECT s.key FROM documents AS s
JOIN documents AS d ON d.table_id = ?1 AND d.key = s.key WHERE s.table_id = -?1 LIMIT 1

-- name: unstage_documents
DELETE FROM documents WHERE table_id < 0

-- name: unstage_entries
DELETE FROM entries WHERE index_id < 0

-- name: supersede_documents
INSERT INTO documents_history (table_id, key, ts, before)
SELECT table_id, key, ?2, value FROM documents WHERE table_id = ?1

-- name: let_in_documents_history
INSERT OR IGNORE INTO documents_history (table_id, key, ts, before)
SELECT ?1, key, ?2, NULL FROM documents WHERE table_id = -?1

-- name: clear_documents
DELETE FROM documents WHERE table_id = ?1

-- name: let_in_documents
INSERT INTO documents (table_id, key, value)
SELECT ?1, key, value FROM documents WHERE table_id = -?1

-- name: let_in_documents_bytes
SELECT coalesce(sum(length(key) + coalesce(length(before), 0)), 0) FROM documents_history
WHERE table_id = ?1 AND ts = ?2

-- name: supersede_entries
INSERT INTO entries_history (index_id, key, ts, present)
SELECT index_id, key, ?2, 1 FROM entries WHERE index_id = ?1

-- name: let_in_entries_history
INSERT OR IGNORE INTO entries_history (index_id, key, ts, present)
SELECT ?1, key, ?2, 0 FROM entries WHERE index_id = -?1

-- name: clear_entries
DELETE FROM entries WHERE index_id = ?1

-- name: let_in_entries
INSERT INTO entries (index_id, key) SELECT ?1, key FROM entries WHERE index_id = -?1

-- name: let_in_entries_bytes
SELECT coalesce(sum(length(key)), 0) FROM entries_history WHERE index_id = ?1 AND ts = ?2

-- name: set_history_bytes
UPDATE commits SET history_bytes = ?2 WHERE ts = ?1

-- name: delete_documents_history_of
DELETE FROM documents_history WHERE table_id = ?1 AND ts = ?2

-- name: delete_entries_history_of
DELETE FROM entries_history WHERE index_id = ?1 AND ts = ?2

-- name: commits_between
SELECT ts, writes FROM commits WHERE ts > ?1 AND ts <= ?2 ORDER BY ts LIMIT ?3

-- name: documents_of_commit
-- The keys of all documents of a table that a commit changed.
SELECT key FROM documents_history WHERE table_id = ?1 AND ts = ?2 ORDER BY key LIMIT ?3
