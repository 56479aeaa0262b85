-- What the database must know of each gateway; docs/adding-a-gateway.md. worker/kinds.py says the
-- same, and tests/sql/test_gateways.py compares the two.
create table if not exists private.gateways (
    name text primary key,
    -- Each connection is a phone's session of its own, which sends one message after the other.
    one_at_a_time boolean not null default false,
    -- Seconds between two messages to one recipient, where a connection's settings say nothing.
    pair_seconds double precision check (pair_seconds > 0),
    -- It only puts jobs into somebody else's queue, whose worker tells what became of them
    -- (private.hear_node_worker).
    hands_over boolean not null default false,
    -- The rate, where a connection's settings say nothing; all null: no limit.
    messages integer check (messages >= 1),
    period_seconds double precision check (period_seconds > 0),
    burst integer check (burst between 1 and messages),
    constraint gateways_rate_complete check (num_nulls(messages, period_seconds, burst) in (0, 3))
);
alter table private.gateways enable row level security;
grant select on private.gateways to service_role;

insert into private.gateways (name) values ('mock') on conflict (name) do nothing;
-- Meta's pair limit.
insert into private.gateways (name, pair_seconds) values ('cloud', 6) on conflict (name) do nothing;
insert into private.gateways (name, one_at_a_time) values ('waha', true)
on conflict (name) do nothing;
insert into private.gateways (name, one_at_a_time) values ('evolution', true)
on conflict (name) do nothing;
insert into private.gateways (name, one_at_a_time) values ('wppconnect', true)
on conflict (name) do nothing;
-- The Node worker sends five messages at a time and rests 6 s after each. More than it takes would
-- lie in its queue, where nobody can take it back; so it is handed over no faster.
insert into private.gateways (name, hands_over, messages, period_seconds, burst)
values ('bullmq', true, 48, 60, 5) on conflict (name) do nothing;

-- Whether a job that was claimed for this gateway is in somebody else's queue. 2.7 µs a call, 2 %
-- of a message's time: for what happens seldom, after all cheaper conditions. A claim reads the
-- table once for all its jobs (0.02 µs each), and once a connection for its pace (1.2 µs).
create or replace function private.hands_over(p_gateway text)
returns boolean
language sql
stable
set search_path = ''
as $$
    select exists (select from private.gateways as g where g.name = p_gateway and g.hands_over)
$$;
revoke all on function private.hands_over from public;
grant execute on function private.hands_over to service_role;
