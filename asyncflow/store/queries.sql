-- Every statement that is not a batch, by name. Parameters are named; {columns} and {where} are filled in by the code.

-- name: run
select {columns} from run where id = :id

-- name: runs
select {columns} from run where {where} order by id desc limit :limit

-- name: count_runs
select state_type, count(*) from run where {where} group by state_type

-- name: finished
select {columns} from run
where flow_run_id = :flow_run_id and key is not null
    and state_type in ('COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED')
order by id

-- name: stored_value
select codec, data, digest, size, preview from run where id = :id and codec is not null

-- name: transitions
select seq, run_id, at, state_type, state_name, message, attempt from transition where run_id = :run_id order by seq

-- name: moves_within
select seq, run_id, at, state_type, state_name, message, attempt from transition
where run_id in (select :run_id union all select id from run where flow_run_id = :run_id) and seq > :after
order by seq limit :limit

-- name: changes
select seq, run_id, at, state_type, state_name, message, attempt from transition
where seq > :after order by seq limit :limit

-- name: newer_epoch
select id, epoch from run where id = :root_id and epoch > :epoch

-- name: newer_epochs
select run.id, run.epoch from json_each(:held) as held cross join run on run.id = held.key
where run.epoch > held.value

-- name: lines
select id, run_id, flow_run_id, at, level, logger, message, fields from (
    select * from (
        select * from log where flow_run_id = :run_id and id > :after and level >= :level order by id limit :limit
    ) as of_flow
    union
    select * from (
        select * from log where run_id = :run_id and id > :after and level >= :level order by id limit :limit
    ) as of_run
) as found
order by id limit :limit

-- name: keep_file
insert into result (digest, size, created_at) values (:digest, :size, :at) on conflict (digest) do nothing

-- name: set_limit
insert into concurrency_limit (name, slots, active, slot_decay_per_second) values (:name, :slots, :active, :decay)
on conflict (name) do update
set slots = excluded.slots, active = excluded.active, slot_decay_per_second = excluded.slot_decay_per_second

-- name: delete_limit
delete from concurrency_limit where name = :name

-- name: limits
select name, slots, active, slot_decay_per_second from concurrency_limit order by name

-- name: room
select name, slots - (select coalesce(sum(occupy), 0) from holding where limit_name = name)
from concurrency_limit where active = 1 and name = :name

-- name: take
insert into holding (limit_name, occupy, token, executor_id, run_id, taken_at)
values (:limit, :occupy, :token, :executor_id, :run_id, :taken_at)

-- name: give_back
delete from holding where token = :token

-- name: holdings
select limit_name, occupy, token, executor_id, run_id, taken_at from holding
where {where} order by id

-- name: cached
select key, run_id, task_name, created_at, expires_at, codec, data, digest, size, preview from cache
where key = :key and (expires_at is null or expires_at > :now)

-- name: keep
insert into cache (key, run_id, task_name, created_at, expires_at, codec, data, digest, size, preview)
values (:key, :run_id, :task_name, :created_at, :expires_at, :codec, :data, :digest, :size, :preview)
on conflict (key) do update
set run_id = excluded.run_id, task_name = excluded.task_name, created_at = excluded.created_at,
    expires_at = excluded.expires_at, codec = excluded.codec, data = excluded.data, digest = excluded.digest,
    size = excluded.size, preview = excluded.preview

-- name: cache_entries
select key, run_id, task_name, created_at, expires_at, codec, null as data, digest, size, preview from cache
where key > :after order by key limit :limit

-- name: clear_cache
delete from cache where {where}

-- name: claim_flight
insert into flight (key, executor_id, token, started_at) values (:key, :executor_id, :token, :at)
on conflict (key) do update set started_at = excluded.started_at where token = excluded.token

-- name: end_flight
delete from flight where key = :key and token = :token

-- name: enlist
insert into executor (id, host, boot_id, pid, started_at, lock_inode)
values (:id, :host, :boot_id, :pid, :started_at, :lock_inode)
on conflict (id) do update
set host = excluded.host, boot_id = excluded.boot_id, pid = excluded.pid, started_at = excluded.started_at,
    lock_inode = excluded.lock_inode

-- name: executors
select id, host, boot_id, pid, started_at, lock_inode from executor order by started_at, id

-- name: is_enlisted
select 1 from executor where id = :id

-- name: retire
delete from executor where id = :id

-- name: retire_holdings
delete from holding where executor_id = :id

-- name: retire_flights
delete from flight where executor_id = :id

-- name: drop_orphan_holdings
delete from holding where executor_id not in (select id from executor)

-- name: drop_orphan_flights
delete from flight where executor_id not in (select id from executor)

-- name: orphan_transitions
select count(*) from transition where not exists (select 1 from run where run.id = transition.run_id)

-- name: orphan_runs
select count(*) from run where not exists (select 1 from run as root where root.id = run.root_id)
