-- Whose turn it is. It runs as its caller, the service key.

-- The first of everybody else's connections that are ready: of everybody (see
-- connection_state.payer) who is not among p_payers, found by one step of an index from one to the
-- next, two hundred at most; a different start each time, so that in the end everybody is found
-- however many they are.
create or replace function private.ready_of_others(
    p_payers text[], p_busy text[], p_until timestamptz
)
returns setof text
language plpgsql
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
declare
    v_start constant text := md5(random()::text);
    v_payer text := v_start;
    v_is_second_round boolean := false;
    v_next text;
    v_ready_at timestamptz;
    v_connection text;
begin
    for v_step in 1..200 loop
        select state.payer, state.ready_at into v_next, v_ready_at
        from private.connection_state as state
        where (state.payer, state.ready_at) > (v_payer, 'infinity')
            and state.ready_at < 'infinity'
        order by state.payer, state.ready_at, state.connection_id
        limit 1;
        if v_next is null and not v_is_second_round then
            v_is_second_round := true;
            v_payer := '';
            continue;
        end if;
        exit when v_next is null or (v_is_second_round and v_next > v_start);
        v_payer := v_next;
        continue when v_ready_at > p_until or v_payer = any(p_payers) or v_payer = any(p_busy);
        select state.connection_id into v_connection
        from private.connection_state as state
        where (state.payer, state.ready_at) >= (v_payer, '-infinity')
            and (state.payer, state.ready_at) <= (v_payer, p_until)
            and state.ready_at < 'infinity'
            and state.connection_id <> all(p_busy)
        order by state.payer, state.ready_at, state.connection_id
        limit 1;
        if v_connection is not null then
            return next v_connection;
        end if;
    end loop;
end
$$;

-- Of these connections, and of everybody else's that are ready, those whose turn it is: first one
-- of everybody, those first whose last turn was longest ago. Locked.
create or replace function private.share_turns(
    p_turn text[], p_payers text[], p_busy text[], p_until timestamptz
)
returns text[]
language sql
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
    with known as (
        select unnest(p_turn) as connection_id
        union
        select other.connection_id
        from private.ready_of_others(p_payers, p_busy, p_until) as other (connection_id)
    ),
    candidate as materialized (
        select state.*
        from known
        cross join lateral (
            select s.connection_id, s.ready_at, s.payer from private.connection_state as s
            where s.connection_id = any(array[known.connection_id])
            limit 1
            for update skip locked
        ) as state
    ),
    ranked as (
        select
            candidate.connection_id,
            candidate.ready_at,
            last_turn.turn_at,
            row_number() over (
                partition by candidate.payer order by candidate.ready_at, candidate.connection_id
            ) as place
        from candidate
        cross join lateral (
            select s.turn_at from private.connection_state as s
            where s.payer = candidate.payer
            order by s.turn_at desc
            limit 1
        ) as last_turn
    )
    select array_agg(chosen.connection_id)
    from (
        select ranked.connection_id from ranked
        order by ranked.place, ranked.turn_at, ranked.ready_at, ranked.connection_id
        limit cardinality(p_turn)
    ) as chosen
$$;

-- Whose turn it is: the connections that have waited longest, locked. Another daemon's are passed
-- over, unless nothing else is there: then its turn is over in a moment. Where more are ready than
-- there are seats, nobody's many connections keep another's waiting (share_turns).
create or replace function private.take_turn(
    p_seats integer, p_busy text[], p_until timestamptz
)
returns text[]
language plpgsql
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_turn text[];
    v_payers text[];
    v_patience constant text := current_setting('lock_timeout');
begin
    select array_agg(turn.connection_id), array_agg(distinct turn.payer) into v_turn, v_payers
    from (
        select state.connection_id, state.payer from private.connection_state as state
        where state.ready_at <= p_until
            and state.connection_id <> all(p_busy)
            and state.payer <> all(p_busy)
        order by state.ready_at, state.connection_id
        limit p_seats
        for update skip locked
    ) as turn;
    if cardinality(v_turn) = p_seats then
        v_turn := private.share_turns(v_turn, v_payers, p_busy, p_until);
    end if;
    if v_turn is null then
        -- Another daemon's turn takes milliseconds; the caller's seats are not for longer waits.
        perform set_config('lock_timeout', '20ms', true);
        begin
            v_turn := array(
                select state.connection_id from private.connection_state as state
                where state.ready_at <= p_until
                    and state.connection_id <> all(p_busy)
                    and state.payer <> all(p_busy)
                order by state.ready_at, state.connection_id
                limit 1
                for update
            );
        exception when lock_not_available then
            null; -- who holds it holds it for longer than a turn takes
        end;
        perform set_config('lock_timeout', v_patience, true);
    end if;
    return nullif(v_turn, '{}');
end
$$;
revoke all on function private.ready_of_others, private.share_turns, private.take_turn from public;
grant execute on function private.ready_of_others, private.share_turns, private.take_turn
to service_role;
