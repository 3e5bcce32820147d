"""Every bound of Camber, with its unit and its reason.

The numbers of semantics 4.10 and protocol 1.5 are what applications written for Convex count on.
Units come last in each name.
"""

from __future__ import annotations

from typing import Final

# Values (protocol 1.5).

#: Elements of one array.
array_length_max: Final = 8192
#: Fields of one object.
object_fields_max: Final = 1024
#: Characters of one field name.
field_name_length_max: Final = 1024
#: Nesting of a value that is an argument or a result.
value_nesting_max: Final = 64
#: Nesting of a stored document.
document_nesting_max: Final = 16
#: Size of a stored document, system fields included.
document_bytes_max: Final = 1024 * 1024
#: Characters of the name of a table, an index, a module or a function.
identifier_length_max: Final = 64
#: Characters of what names a function from outside: folders, module, export and the mounts around it.
#: Names that were parsed are kept.
function_name_length_max: Final = 2048

# Functions.

#: Size of a function's arguments.
arguments_bytes_max: Final = 16 * 1024 * 1024
#: Size of a function's result.
result_bytes_max: Final = 16 * 1024 * 1024
#: Nested run_query and run_mutation calls.
call_depth_max: Final = 8
#: Components that are mounted, mounts within mounts included: each has tables to look after.
components_max: Final = 256
#: Bytes of the seed of a function's chance: what it draws is as hard to guess as a key.
seed_bytes: Final = 32
#: UTF-8 bytes of one log line, beyond which it is truncated.
log_line_bytes_max: Final = 32_768
#: Log lines of one execution; the last one says that more were dropped.
log_lines_max: Final = 256
#: Entries that the log of functions keeps for those who ask later (semantics 11.2); as many again
#: of answers from the query cache.
function_log_entries_max: Final = 1000
#: Bytes of those entries, about, beyond which the oldest are forgotten first.
function_log_bytes_max: Final = 16 * 1024 * 1024
#: How long a reader of the log is made to wait for the next entry, in seconds (protocol 8.5).
function_log_hold_s: Final = 60.0

# Transactions (semantics 4.10).

#: Of a store's file, how much a process for transactions reads in place: as much as SQLite allows.
#: It is memory of the system's, not of the process.
store_mapped_bytes_max: Final = 2 * 1024 * 1024 * 1024 - 65_536
#: Documents that one query or mutation may scan.
documents_read_max: Final = 32_000
#: Bytes of documents that one query or mutation may scan.
bytes_read_max: Final = 16 * 1024 * 1024
#: Coalesced index intervals in one read set.
read_intervals_max: Final = 4096
#: Documents that one mutation may write.
documents_written_max: Final = 16_000
#: Bytes of documents that one mutation may write.
bytes_written_max: Final = 16 * 1024 * 1024
#: Attempts after the first one of a mutation that lost to a concurrent commit while it was its turn
#: (semantics 4.4); those that it loses to mutations before it in the queue do not count.
conflict_retries_max: Final = 4
#: Prefixes of one index that a mutation claims before it claims all of the index: one that reads
#: something else each time it runs would never be safe from others.
claims_per_index_max: Final = 16
#: Mutations that wait for their turn before others that would have to are refused.
turns_waiting_max: Final = 10_000
#: Functions of which it is kept what their calls claim, patterns of each, and bytes of arguments
#: that are looked at for it: a key is made of a few short ones.
foreseen_functions_max: Final = 1000
foreseen_patterns_max: Final = 8
foreseen_arguments_bytes_max: Final = 16 * 1024

#: Share of a limit beyond which a function's log says so, in percent.
warning_percent: Final = 80

# What functions read, explained (docs/explain.md).

#: Documents that one scan has to read before a server warns of it. In development there are few, and
#: to read fewer takes less than a millisecond.
scan_warning_documents_min: Final = 100
#: How many times as much as is returned it has to be: what reads a few times too much may do so for
#: an order that no index has.
scan_warning_ratio_min: Final = 10
#: Warnings that are known to have been given, so that each is given once; beyond that none is.
scan_warnings_kept: Final = 1000
#: Places in the code whose scans are told apart within one run; a loop is one.
explained_scans_max: Final = 200
#: Entries of a read set that are told one by one: all of most. Beyond that they are counted.
explained_reads_max: Final = 1000
#: Characters of a value, a condition or a searched text in an explanation: more does not help a reader.
explained_text_length_max: Final = 200
#: Bytes of one value of a bound of an entry, as JSON; of a longer one only its size is told.
explained_value_bytes_max: Final = 4096
#: Characters of a source file that is parsed to find out which index would help, and how many of
#: them are kept parsed.
source_characters_max: Final = 256 * 1024
sources_parsed_kept: Final = 16

# Scheduled functions and cron jobs (semantics 4.10, 6.3, 6.4).

#: Functions that one mutation may schedule.
functions_scheduled_max: Final = 1000
#: Bytes of the arguments of all functions that one mutation schedules, and of one of them beyond
#: which the log says so: they are stored, and read when it runs.
scheduled_arguments_bytes_max: Final = 16 * 1024 * 1024
scheduled_arguments_bytes_large: Final = 4 * 1024 * 1024
#: Functions that wait for their time or run, of all components together, cron jobs among them:
#: beyond that mutations and actions may schedule no more than they end. What commits at the same
#: moment may go beyond it by what it schedules.
functions_waiting_max: Final = 1_000_000
#: How far ahead, or back, the time of a scheduled function may lie, in seconds: five years.
schedule_ahead_s_max: Final = 5 * 366 * 24 * 3600.0
#: Scheduled mutations, and actions, that run at once: those of clients run beside them. An action
#: mostly waits for others, so more of them do.
scheduled_mutations_concurrent_max: Final = 8
scheduled_actions_concurrent_max: Final = 64
#: Pauses before a scheduled mutation that the server could not run is tried again, in seconds: the
#: first, and the longest.
schedule_backoff_s: Final = 0.5
schedule_backoff_s_max: Final = 2 * 3600.0
#: Attempts of a scheduled mutation whose process is ended under it: it may be what ends them.
schedule_losses_max: Final = 8
#: Attempts that a `Retry` may ask for.
schedule_attempts_max: Final = 1000
#: How long the scheduler sleeps at most, in seconds: after that it looks whether the system's clock
#: has been set.
schedule_sleep_s_max: Final = 30.0
#: How long the documents of scheduled functions that have ended are kept, in seconds: a week; and
#: how many are deleted in one transaction.
scheduled_kept_s: Final = 7 * 24 * 3600.0
scheduled_forgotten: Final = 1000
#: How many jobs are looked at in one transaction that cancels for an operator, of 1000 that may be (semantics
#: 4.10): all else stands still for some 10 ms.
scheduled_cancelled: Final = 250
#: Runs of a cron job that are remembered; characters of a result and bytes of log lines of each.
cron_runs_kept: Final = 5
cron_result_length_max: Final = 1000
cron_log_bytes_max: Final = 1000
#: Cron jobs of one release.
crons_max: Final = 1000
#: Functions of which it is known how they have failed last, so that what fails again and again is
#: told in full once.
repeated_failures_kept: Final = 1000
#: Characters of the name of a cron job.
cron_name_length_max: Final = 256
#: Runs that follow one another in a test while its clock has nowhere to go: beyond that something
#: goes round in circles.
test_runs_at_once_max: Final = 20_000

# Deployment variables (semantics 4.10).

#: Variables of one deployment.
variables_max: Final = 512
#: Characters of a variable's name.
variable_name_length_max: Final = 256
#: UTF-8 bytes of one value, and of all values.
variable_value_bytes_max: Final = 8 * 1024
variables_bytes_max: Final = 512 * 1024

# Admin keys.

#: Keys that are issued and not revoked: all are kept in memory.
admin_keys_max: Final = 1000
#: Characters of a key's name.
admin_key_name_length_max: Final = 64
#: The longest lifetime of a key that expires, in seconds: ten years.
admin_key_lifetime_s_max: Final = 10 * 365 * 24 * 3600.0

#: How long a key that signs no more may be trusted, in seconds: no access token should live as long.
signing_key_trusted_s_max: Final = 365 * 24 * 3600

# Tokens of users, and identity providers (protocol 9).

#: Providers that one application trusts: a token is held against one after another.
providers_max: Final = 32
#: Bytes of a token. Proxies take 8 to 16 KiB of one header.
token_bytes_max: Final = 16 * 1024
#: Bytes of the tokens that were verified last and need not be again: some thousands of the usual size.
#: What is kept of one may take ten times as much.
tokens_remembered_bytes_max: Final = 4 * 1024 * 1024
#: How far clocks may differ: a token is good this long after its end and before its beginning, in
#: seconds (protocol 9.3).
token_tolerance_s: Final = 5.0
#: How far from now a token may say that it was made, in seconds. That alone gives nobody anything, so
#: that a provider whose clock is ahead signs nobody out.
token_issued_ahead_s_max: Final = 60.0
#: Bytes of what a provider says of itself, and of its keys; and how many of these.
provider_document_bytes_max: Final = 256 * 1024
provider_keys_max: Final = 100
#: Bits of an RSA key: fewer are not safe (RFC 7518 3.3), more take too long.
rsa_key_bits_min: Final = 2048
rsa_key_bits_max: Final = 8192
#: How long a provider may take to answer, in seconds: somebody waits for it.
provider_answer_s_max: Final = 5.0
#: How long what it says holds, in seconds: if it does not say so, and between which bounds. A key that it
#: withdraws is good for as long.
provider_fresh_s: Final = 600.0
provider_fresh_s_min: Final = 15.0
provider_fresh_s_max: Final = 3600.0
#: How long it holds beyond that while the provider does not answer, in seconds.
provider_away_s_max: Final = 3600.0
#: Between two requests for one document that lacks a key or did not come, in seconds: forged tokens ask for
#: keys that there are not.
provider_asked_again_s: Final = 5.0

# Tables and indexes (semantics 2.5).

#: User tables of one deployment.
tables_max: Final = 10_000
#: Indexes of all kinds on one table.
indexes_per_table_max: Final = 64
#: Declared fields of one index.
index_fields_max: Final = 16

# Text search (semantics 7.1).

#: UTF-8 bytes of a word that is indexed: longer ones are addresses and keys, and are left out.
search_word_bytes_max: Final = 31
#: Words of a search that are looked for: each costs a pass over the texts that have it.
search_terms_max: Final = 16
#: Filter fields that one search may compare.
search_filters_max: Final = 8
#: Documents that one search may give: a page has its own.
search_results_max: Final = 1024

# Vector search (semantics 7.2).

#: Numbers in the vectors of an index. More would be kept, and searched, as slowly as they are long.
vector_dimensions_min: Final = 2
vector_dimensions_max: Final = 4096
#: Documents that one search may give.
vector_results_max: Final = 256
#: Values that the filters of one search may name, in all.
vector_filter_terms_max: Final = 64
#: Vectors that each process keeps in memory, of all indexes: what is beyond is read from the store by
#: each search, which takes several times as long.
vector_blocks_bytes_max: Final = 512 * 1024 * 1024
#: Statements that are kept with the name of a text or vector index in them, about ten for each: imports
#: that replace, and pushes, give new indexes without end.
search_statements_kept: Final = 4096

#: Catalogs before the newest one that reads at older timestamps find; one more for each push that
#: changes indexes, and for each new table.
catalogs_kept: Final = 64

# Releases.

#: Releases that are remembered, and can be gone back to.
releases_kept: Final = 10
#: Releases whose code stays loaded after another has taken over, for what runs at older snapshots.
superseded_releases_max: Final = 4
#: Documents that are checked or indexed at once while commits go on: a commit may wait that long.
push_batch_documents: Final = 256
#: Documents that may have changed since they were checked when a push stops commits to end.
push_remainder_documents: Final = 64
#: Rounds of checking what has changed meanwhile, after which a push ends with what is left.
push_rounds_max: Final = 20
#: Index entries that are removed at once.
index_entries_removed: Final = 2000

# Pagination (semantics 3.6).

#: Items that one page may ask for.
page_items_max: Final = 32_000
#: Rows that one page looks at where a rule is asked of each: rules may read more, and all of it has
#: the processor time of one function.
page_ruled_rows_max: Final = 4096
#: Share of a read limit beyond which a page recommends to be split, in percent.
page_split_recommended_percent: Final = 75

# The write log, history and the query cache (semantics 5.1, architecture "Time and versions").

#: Commits younger than this stay in the write log, in seconds.
write_log_s_min: Final = 30.0
#: Commits older than this leave the write log, in seconds.
write_log_s_max: Final = 300.0
#: Bytes of keys in the write log beyond which commits older than `write_log_s_min` leave it.
write_log_bytes_max: Final = 50 * 1024 * 1024
#: Commits of one generation of the write log, and how long it takes them in, in seconds: few enough
#: that keeping its keys in order costs next to nothing, many enough that what was read since a
#: moment ago is looked up once or twice.
write_log_generation_commits: Final = 512
write_log_generation_s: Final = 10.0
#: Default age up to which older snapshots can be read, in seconds.
history_retention_s: Final = 3600.0
#: Default bound on the bytes of history, beyond which the oldest is trimmed first.
history_bytes_max: Final = 1024 * 1024 * 1024
#: Rows of history that are deleted at once: some 10 ms during which no commit is written.
history_rows_trimmed: Final = 2000
#: How far history may outgrow its bound while an export needs it; beyond that the export fails.
history_pinned_factor_max: Final = 2
#: How long the result of a client's mutation is kept for a resend, in seconds: two weeks.
session_request_retention_s: Final = 14 * 24 * 3600.0
#: How long a new request may get a result whose function has read the clock, in seconds: user code
#: may take 1, the system around it 15, and 1 is grace (semantics 4.9).
observed_time_s_max: Final = 1.0 + 15.0 + 1.0
#: Encoded results kept by the query cache.
query_cache_bytes_max: Final = 100 * 1024 * 1024

# The committer.

#: Transactions gathered into one durable group.
commit_group_max: Final = 256
#: Transactions that wait for a group before new ones are refused (`CommitterFullError`).
commit_queue_max: Final = 10_000

# The store.

#: Pages of 4 KiB in the log of writes from which they are put into the file. More are written twice
#: less often, but take longer to be found by readers, and hold up commits for longer.
store_log_pages: Final = 4000
#: Pages at which an append puts them in itself, if nobody else has: readers may keep the log from
#: beginning anew for a while, but not for ever.
store_log_pages_max: Final = 64_000
#: How long an append waits for readers so that the log can begin anew, in seconds.
store_log_wait_s: Final = 0.01
#: Pages that the writer keeps in memory, in KiB: those on the way to where rows are added.
store_cache_kib: Final = 64 * 1024

# The network (protocol 3, 4).

#: Body of one HTTP API call: the arguments plus their envelope.
http_body_bytes_max: Final = 16 * 1024 * 1024 + 2000
#: One WebSocket message.
socket_message_bytes_max: Final = 64 * 1024 * 1024
#: Bodies of all HTTP requests that are read at one time; answers that their clients do not take in; and
#: what all sockets together may hold: what clients do not take in, halves of messages, arguments of what
#: waits. More is refused, or dropped.
http_bodies_bytes_max: Final = 1024 * 1024 * 1024
http_answers_bytes_max: Final = 1024 * 1024 * 1024
sockets_bytes_max: Final = 1024 * 1024 * 1024
#: Connections that a server has at one time, by default, and from one address: a thousand people behind
#: one router are let in, and one machine cannot take all.
connections_max: Final = 16_000
connections_per_address_max: Final = 1000
#: Connections beyond these that are told why they are refused, rather than just cut off.
connections_refused_max: Final = 500
#: Files that a server has open besides its connections: its store, processes, pipes and libraries.
files_besides_connections: Final = 256
#: Characters of what a client says it is, of which more are cut off: browsers need some 120.
user_agent_length_max: Final = 512
#: Messages that one socket may send in a second, by default: an official client in a hurry sends some
#: hundred. It may be ahead of that for `socket_burst_s` seconds, since what was sent while a phone was
#: away comes at once.
socket_messages_per_s_max: Final = 2000
socket_burst_s: Final = 5
#: Bits of the bytes that count as one message more: each 16 KiB.
socket_bytes_per_message_bits: Final = 14
#: Answers to one client that wait because it takes none in, in bytes, before it is dropped. Transitions do
#: not count: two at most wait, and the states between are skipped.
answers_unsent_bytes_max: Final = 64 * 1024 * 1024
#: Of these, how many before nothing more is taken in from it.
answers_held_bytes: Final = 8 * 1024 * 1024
#: How long a client may take to take in what was written for it, in seconds, beyond what its bytes take
#: at the slowest speed of all; the same for whoever sends a body or takes in an answer over HTTP.
stalled_s_max: Final = 60.0
slowest_bytes_per_s: Final = 8 * 1024
#: Subscriptions of one connection, and in one message, which is decoded in one piece.
subscriptions_max: Final = 10_000
#: Arguments of the mutations of one connection that wait, of its actions that run, and of its
#: subscriptions, in bytes.
arguments_waiting_bytes_max: Final = 64 * 1024 * 1024
#: The head of an HTTP request, about, and how long it may take, in seconds; a new connection has as long.
http_head_bytes_max: Final = 64 * 1024
http_head_s_max: Final = 20.0
#: How long a connection may be idle between two HTTP requests, in seconds: longer than the proxies that
#: keep them for the next one, which take 60.
http_idle_s: Final = 75
#: Objects that come to be in a server before it looks for cycles among them; Python's own 700 is
#: met by every twentieth request.
new_objects_per_collection: Final = 50_000
#: Silence after which a JSON Ping goes to a client; npm gives up after 60 s, PyPI after 30 s.
socket_ping_s: Final = 15.0
#: Pause between WebSocket pings, and how long a pong may take.
socket_ping_frame_s: Final = 20.0
socket_pong_s_max: Final = 100.0
#: Mutations of one connection that wait or run.
mutations_queued_max: Final = 1000
#: Actions of one connection that run.
actions_in_flight_max: Final = 1000
#: Transitions of one connection that are written but not yet sent (back-pressure).
transitions_unsent_max: Final = 2
#: Time that one mutation of a connection may take, retries included, in seconds.
mutation_s_max: Final = 60.0
#: How often the tokens of open sockets are held against their providers' keys, in seconds, where nothing says
#: that these have changed: a provider tells nobody that it has withdrawn one.
socket_tokens_reviewed_s: Final = 60.0
#: Bytes of a Transition beyond which it is split for clients that know chunks (protocol 3.13).
transition_chunk_bytes_max: Final = 5_000_000
#: UTF-8 bytes of the reason of a close frame (RFC 6455 5.5.1).
close_reason_bytes_max: Final = 123
#: Frames that wait to be sent to one client before nothing more is taken in from it.
frames_unsent_max: Final = 2000
#: Queries of one connection that run at once.
queries_concurrent_max: Final = 20
#: Messages of one connection that are taken in at one turn of the loop: others are served between.
messages_per_turn: Final = 64
#: Bytes of frames for one connection that are joined: copying more costs more than it saves.
frames_joined_bytes_max: Final = 16 * 1024
#: Watchers of one result that are told of the next one at one turn of the loop: about a millisecond
#: of pushes, between which whoever writes is answered.
watchers_told_per_turn: Final = 200
#: Members of a cohort that are written to without a look at how many others have been told.
members_told_together: Final = 50
#: Places from which clients look at one result and where they are looked for, to be told together.
cohorts_per_result_max: Final = 32
#: Frames that are kept with a result to be shared, one for each step that clients take to it.
frames_shared_max: Final = 8
#: How long a client may take to answer the end of its connection, in seconds.
socket_close_s_max: Final = 10.0
#: Queries in one `/api/query_batch`.
query_batch_max: Final = 1000

# HTTP actions (semantics 4.10).

#: Body of one request to an HTTP action, and of one of its responses.
http_action_body_bytes_max: Final = 20 * 1024 * 1024
#: Bytes of a body that are on their way between a client and an HTTP action, each way: whoever is
#: slow to read makes the other wait. What is sent at once is cut in such pieces.
http_window_bytes: Final = 256 * 1024
http_piece_bytes: Final = 64 * 1024
#: What a message takes beside its bytes, about: many that are empty are bounded too.
http_message_bytes: Final = 256
#: How long nothing may come of a body that has not ended, in seconds: whoever sends a byte now and
#: then is ended with its action.
http_body_idle_s_max: Final = 30.0
#: How long a client may take in nothing of a response, in seconds.
http_send_idle_s_max: Final = 60.0
#: HTTP actions of one release that run at once: the rest of `actions_in_flight_max` is for clients.
http_actions_in_flight_max: Final = 500
#: How long a mounted application may take for the start and the end of its lifespan, in seconds.
lifespan_start_s_max: Final = 60.0
lifespan_end_s_max: Final = 5.0

# Exports and imports (protocol 8.6, 8.7).

#: Documents, and their bytes, of a component that is mounted no more that are deleted in one commit: other
#: commits wait for it a few milliseconds.
component_documents_deleted: Final = 200
component_bytes_deleted: Final = 2 * 1024 * 1024
#: How long a finished export is kept, in seconds: a week.
export_kept_s: Final = 7 * 24 * 3600.0
#: How many of the files that an export lacks its document names; the export itself names all.
export_missing_told: Final = 100
#: Documents of one read of an export or a listing: each may have a MiB.
export_batch_documents_max: Final = 64
#: Bytes of one part of an upload; the official CLI sends 5 MiB unless a file has very many.
import_part_bytes_max: Final = 64 * 1024 * 1024
#: Parts of one upload.
import_parts_max: Final = 10_000
#: Bytes of one upload.
import_upload_bytes_max: Final = 64 * 1024 * 1024 * 1024
#: How long an upload may take, in seconds.
import_upload_s_max: Final = 24 * 3600.0
#: Uploads that have begun and are not finished; the oldest is forgotten first.
import_uploads_max: Final = 16
#: Bytes that one import may have after decompression: whoever sends a few must not fill the disk.
import_bytes_max: Final = 256 * 1024 * 1024 * 1024
#: Bytes of the list of files in one ZIP, which is read in one piece: about 100 for each.
import_zip_directory_bytes_max: Final = 32 * 1024 * 1024
#: Bytes of one line: a document of the largest size, escaped and encoded.
import_line_bytes_max: Final = 8 * 1024 * 1024
#: Bytes of a JSON array, which is parsed in one piece.
import_json_array_bytes_max: Final = 16 * 1024 * 1024
#: Documents, and bytes of them, that are staged at once.
import_batch_documents_max: Final = 500
import_batch_bytes_max: Final = 4 * 1024 * 1024
#: Documents of one page of `list_snapshot`, and about how many bytes of them.
snapshot_page_documents_max: Final = 1024
snapshot_page_bytes_max: Final = 8 * 1024 * 1024
#: Documents after which a page of `document_deltas` ends, with the commit that reached them, and
#: commits that one page looks at.
deltas_page_documents: Final = 128
deltas_page_commits_max: Final = 1000
#: Documents of one commit that `document_deltas` tells: it cannot be told in parts. Whoever follows
#: begins anew after a larger one, which only an import makes.
deltas_commit_documents_max: Final = 50_000
#: Body of one batch of records that another system writes.
streaming_body_bytes_max: Final = 20 * 1024 * 1024
#: Records that are written in one transaction.
streaming_commit_records_max: Final = 500
#: How long an import waits to be confirmed, in seconds.
import_confirmation_s_max: Final = 3600.0

# Files (semantics 8).

#: Bytes of one file by default, a setting of a server's; Convex has no bound.
file_bytes_max: Final = 5 * 1024 * 1024 * 1024
#: What a disk must have free for a file to be written on: documents need room too.
file_disk_reserved_bytes: Final = 256 * 1024 * 1024
#: Bytes of a file that are handled at once, on each step of its way.
file_piece_bytes: Final = 512 * 1024
#: How long an upload URL may be used, in seconds.
upload_url_s: Final = 3600.0
#: The longest life of a file's URL that expires, in seconds: a year.
file_url_s_max: Final = 366 * 24 * 3600.0
#: Files on their way in at once, those of actions included.
uploads_in_flight_max: Final = 256
#: How many bytes of a body must come within how many seconds, for as long as it lasts: whoever sends
#: one byte now and then is not waited for.
upload_progress_bytes: Final = 64 * 1024
upload_progress_s: Final = 60.0
#: Bytes of a refused upload that are read for the client to see the answer, and for how long.
upload_discarded_bytes: Final = 4 * 1024 * 1024
upload_discarded_s: Final = 2.0
#: How long a client may leave a piece of a download unread, in seconds.
download_stall_s_max: Final = 60.0
#: How long browsers may keep a file, in seconds: it never changes (protocol 6.3).
file_cached_s: Final = 30 * 24 * 3600
#: Characters of a file's content type.
content_type_length_max: Final = 255
#: Files that one action holds open, to be read or written.
action_files_open_max: Final = 64
#: Files whose content is removed before their records are, in one commit.
files_removed_at_once: Final = 64

# The end of a server.

#: How long what runs may take when a production server is told to end, in seconds: less than the
#: 30 s after which container platforms kill.
grace_s: Final = 25.0
#: The same in development: a person waits for it.
development_grace_s: Final = 2.0

# Releases that are pushed over HTTP.

#: A release as it is uploaded. Sources are small: what is larger is data, or was included by
#: mistake.
release_archive_bytes_max: Final = 64 * 1024 * 1024
#: A release unpacked, so that a small archive cannot fill the disk.
release_bytes_max: Final = 256 * 1024 * 1024
#: Files of one release.
release_files_max: Final = 10_000
#: UTF-8 bytes of the path of one of its files.
release_path_bytes_max: Final = 512
#: UTF-8 bytes of a push's message.
release_message_bytes_max: Final = 500
#: How long the dependencies of a release may take to install, in seconds.
environment_install_s_max: Final = 900.0
#: Documents of a table from which dropping one of its indexes must be allowed by whoever pushes:
#: building it again would take a while.
large_index_documents: Final = 10_000

# Executors (semantics 4.10, architecture "Processes").

#: User code of one query or mutation: CPU time in seconds, reads of the store not counted.
transaction_cpu_s_max: Final = 1.0
#: Reads of one query or mutation from the store, in seconds.
transaction_store_s_max: Final = 15.0
#: Time in seconds after which a process that does not answer is ended: one that waits burns no CPU.
transaction_s_end: Final = 30.0
#: CPU time in seconds beyond its own second after which a function that cannot be interrupted, since
#: it is in C code, is ended with its process.
transaction_cpu_s_overrun: Final = 2.0
#: One action, in seconds.
action_s_max: Final = 600.0
#: What it may take to end beyond that before its process is ended, in seconds.
action_overdue_s: Final = 5.0
#: How long actions that are cancelled at shutdown may clean up, in seconds.
action_grace_s: Final = 5.0
#: Memory that transactions and actions of one process may take beyond what their release takes.
transaction_memory_bytes_max: Final = 512 * 1024 * 1024
action_memory_bytes_max: Final = 2 * 1024 * 1024 * 1024
#: Requests that are sent to one process: one runs, the others save the wait for the next.
executor_pipeline_max: Final = 8
#: Time in seconds after which requests behind a slow one are given to another process.
executor_slow_s: Final = 0.05
#: Requests that wait for a process before new ones are refused, and how long they wait, in seconds.
executor_queue_max: Final = 10_000
executor_wait_s_max: Final = 30.0
#: Processes that may be lost while they run one transaction before it is given up: two may be lost
#: for reasons of their own, at the same time.
executor_losses_max: Final = 3
#: How long the processes of a release that serves no more wait for what began on it, in seconds.
executor_linger_s: Final = 10.0
#: Loading one release, in seconds.
release_load_s_max: Final = 120.0
#: An event loop of actions that has stood still for so long is blocked, in seconds.
action_loop_blocked_s: Final = 2.0
#: Actions of one process before another is started.
actions_per_process_max: Final = 256
#: One message between the server and a process.
frame_bytes_max: Final = 256 * 1024 * 1024
