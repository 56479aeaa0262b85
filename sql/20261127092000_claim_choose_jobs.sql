-- Which jobs a claim takes. It runs as its caller, the service key.

-- What a claim is made with: the arguments of claim_broadcast_jobs, within their bounds.
drop type if exists private.claim_terms cascade;
create type private.claim_terms as (
    token uuid,
    lease_seconds double precision,
    gateway text,
    at timestamptz,
    call_seconds double precision,
    early interval,
    retry_attempts integer,
    retry_delay_seconds double precision
);

-- Chooses and locks waiting jobs: of each connection its share of the seats, as far as it has
-- slots; what is written to one (priority 0) before what is written to many, however many those
-- are. A phone's session (WAHA and its like) takes one message at a time, so without slots it is
-- given no more than `few`. A job has either its slot or `put_off_until`: whom its connection wrote
-- to a moment ago has to wait, and so has the second message to the same recipient. Where nothing
-- spaces them, those that are due a little later (`early`) are given too, with their instants for
-- slots.
create or replace function private.choose_jobs(
    p_turn text[], p_seats integer, p_terms private.claim_terms
)
returns table (
    connection_id text,
    id uuid,
    scheduled_message_id uuid,
    recipient text,
    gateway text,
    put_off_until timestamptz,
    arrival_at timestamptz,
    send_at timestamptz,
    send_until timestamptz,
    step double precision,
    jitter double precision,
    recipient_step double precision,
    today date,
    used integer,
    recipient_reason text
)
language sql
volatile
rows 50
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    -- The connections that may send now.
    with turn as materialized (
        select * from private.pace(p_turn, p_terms.at, p_terms.gateway, p_terms.call_seconds) as p
        where p.blocked_reason is null
    ),
    -- Of each its oldest jobs, locked.
    candidate as materialized (
        select turn.*, job.*
        from turn
        -- As SERIAL in worker/sending/sender.py.
        cross join (select 4 as few) as session
        cross join lateral (
            select case
                when turn.slots = 0 then 0
                when turn.is_on_trial then 1
                else least(
                    ceil(p_seats::numeric / (select count(*) from turn)),
                    case when turn.recipient_step is null then turn.slots end,
                    case when turn.step is null and turn.one_at_a_time then session.few end
                )
            end as most
        ) as share
        -- One priority after the other, each along the index; the next only where there is room.
        cross join lateral (
            select waiting.*
            from (values (0::smallint), (1::smallint)) as level (priority)
            cross join lateral (
                select
                    j.id,
                    j.scheduled_message_id,
                    j.recipient,
                    j.priority,
                    j.available_at,
                    octet_length(j.message)
                    + coalesce(octet_length(j.caption), 0)
                    + coalesce(octet_length(j.media::text), 0)
                    + coalesce(octet_length(j.template::text), 0) as size
                from public.broadcast_jobs as j
                where j.connection_id = turn.connection_id
                    and j.priority = level.priority
                    and j.status = 'queued'
                    and j.scheduled_message_id is not null
                    and j.available_at <= case
                        when turn.step is null then p_terms.at + p_terms.early else p_terms.at
                    end
                    and (j.expires_at is null or j.expires_at > p_terms.at)
                    and j.id <> all(array(
                        select aside.id from private.refused_rows as aside
                        where aside.step = 'claim' and aside.again_at > p_terms.at
                    ))
                    -- What is tried to find out about the connection is one that nothing is held
                    -- against, if there is one.
                    and (not turn.is_on_trial or j.refused_at is null or not exists (
                        select from public.broadcast_jobs as other
                        where other.connection_id = any(array[turn.connection_id])
                            and other.status = 'queued'
                            and other.scheduled_message_id is not null
                            and other.available_at <= p_terms.at
                            and other.refused_at is null
                            and other.id <> all(array(
                                select aside.id from private.refused_rows as aside
                                where aside.step = 'claim' and aside.again_at > p_terms.at
                            ))
                    ))
                order by j.available_at, j.id
                limit share.most
                for update skip locked
            ) as waiting
            limit share.most
        ) as job
        limit p_seats
    ),
    -- A thousand maximal messages would be more than a claim can carry: eight megabytes.
    carried as (
        select sized.*
        from (
            select
                candidate.*,
                sum(candidate.size) over (
                    order by candidate.priority, candidate.available_at, candidate.id
                    rows between unbounded preceding and 1 preceding
                ) as size_before
            from candidate
        ) as sized
        where coalesce(sized.size_before, 0) < 8000000
    ),
    -- When each one's recipient may get it.
    spaced as (
        select
            carried.*,
            greatest(recipient.free_at, p_terms.at) + make_interval(
                secs => carried.recipient_step * (
                    row_number() over (
                        partition by carried.connection_id, carried.recipient
                        order by carried.priority, carried.available_at, carried.id
                    ) - 1
                )
            ) as free_at,
            case when recipient.free_at > p_terms.at then recipient.reason end as recipient_reason
        from carried
        left join private.recipient_state as recipient
            on carried.recipient_step is not null
            and recipient.connection_id = any(array[carried.connection_id])
            and recipient.recipient = any(array[carried.recipient])
    ),
    -- When its connection may send it: one step after the one before, and some jitter.
    slotted as (
        select
            spaced.*,
            row_number() over line as place,
            spaced.first_at + make_interval(
                secs => spaced.step * (row_number() over line - 1) + coalesce(
                    sum(random() * spaced.jitter) over (
                        line rows between unbounded preceding and 1 preceding
                    ),
                    0
                )
            ) as arrival_at
        from spaced
        where spaced.recipient_step is null or spaced.free_at <= p_terms.at
        window line as (
            partition by spaced.connection_id
            order by spaced.priority, spaced.available_at, spaced.id
        )
    )
    select
        slotted.connection_id,
        slotted.id,
        slotted.scheduled_message_id,
        slotted.recipient,
        slotted.gateway,
        null as put_off_until,
        slotted.arrival_at,
        slot.at as send_at,
        least(slot.at + make_interval(secs => slotted.tolerance), slotted.closes_at) as send_until,
        slotted.step,
        slotted.jitter,
        slotted.recipient_step,
        slotted.today,
        slotted.used,
        null as recipient_reason
    from slotted
    cross join lateral (
        select greatest(
            slotted.earliest,
            slotted.arrival_at - make_interval(secs => slotted.slack),
            slotted.available_at
        ) as at
    ) as slot
    where (slotted.slots is null or slotted.place <= slotted.slots)
        and (slotted.step is null or slot.at < slotted.horizon) -- jitter may push it beyond
        and (slotted.closes_at is null or slot.at < slotted.closes_at)
    union all
    select
        spaced.connection_id,
        spaced.id,
        spaced.scheduled_message_id,
        spaced.recipient,
        spaced.gateway,
        spaced.free_at as put_off_until,
        null as arrival_at,
        null as send_at,
        null as send_until,
        spaced.step,
        spaced.jitter,
        spaced.recipient_step,
        spaced.today,
        spaced.used,
        spaced.recipient_reason
    from spaced
    where spaced.recipient_step is not null and spaced.free_at > p_terms.at
$$;
revoke all on function private.choose_jobs from public;
grant execute on function private.choose_jobs to service_role;
