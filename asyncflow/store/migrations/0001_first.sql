-- Every run, flow or task. Ids rise with time, so that rows are appended; what may be large stands last.
create table run (
    id text not null primary key,
    kind text not null,
    name text not null,
    spec_name text not null,
    spec_key text not null,
    key text,
    parent_id text,
    flow_run_id text,
    root_id text not null,
    epoch bigint not null,
    executor_id text,
    state_type text not null,
    state_name text not null,
    state_message text,
    attempt bigint not null,
    created_at bigint not null,
    started_at bigint,
    ended_at bigint,
    tags text,
    parameters text,
    depends_on text,
    source_digest text,
    codec text,
    data blob,
    digest text,
    size bigint,
    preview text,
    error text
);

create index run_of_flow on run (flow_run_id, id) where flow_run_id is not null;
create index run_outermost on run (id) where parent_id is null;
create index run_flow on run (id) where kind = 'flow';

-- Children of a task; children of a flow are found by run_of_flow.
create index run_of_task on run (parent_id, id) where parent_id is not flow_run_id;

create index run_live on run (executor_id, id)
    where state_type not in ('COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED');

-- The event log: every move of every run, numbered in commit order. The newest row is never deleted, so that no
-- number is given twice (an autoincrement would promise the same, and cost a page of every commit).
create table transition (
    seq integer primary key,
    run_id text not null,
    at bigint not null,
    state_type text not null,
    state_name text not null,
    message text,
    attempt bigint not null
);

create index transition_of_run on transition (run_id, seq);

-- Files of results, by content.
create table result (
    digest text not null primary key,
    size bigint not null,
    created_at bigint not null
);

create table log (
    id integer primary key,
    run_id text not null,
    flow_run_id text,
    at bigint not null,
    level bigint not null,
    logger text not null,
    message text not null,
    fields text
);

create index log_of_run on log (run_id, id);
create index log_of_flow on log (flow_run_id, id) where flow_run_id is not null;

create table concurrency_limit (
    name text not null primary key,
    slots bigint not null,
    active integer not null,
    slot_decay_per_second double precision
);

-- Slots in somebody's hands. The sum of these rows is the truth; there is no counter.
create table holding (
    id integer primary key,
    limit_name text not null,
    occupy bigint not null,
    token text not null,
    executor_id text not null,
    run_id text,
    taken_at bigint not null
);

create index holding_of_limit on holding (limit_name);
create index holding_of_token on holding (token);

create table cache (
    key text not null primary key,
    run_id text not null,
    task_name text not null,
    created_at bigint not null,
    expires_at bigint,
    codec text not null,
    data blob,
    digest text,
    size bigint not null,
    preview text
);

-- Who computes a cache key right now.
create table flight (
    key text not null primary key,
    executor_id text not null,
    token text not null,
    started_at bigint not null
);

create table executor (
    id text not null primary key,
    host text not null,
    boot_id text not null,
    pid bigint not null,
    started_at bigint not null,
    lock_inode bigint
);
