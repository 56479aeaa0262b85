-- Whose turn it is. It runs as its caller, the service key.

-- The first of everybody else's connections that are ready: of everybody (see connection_state.payer) who is not among
-- p_payers, found by one step of an index from one to the next, two hundred at most; a different start each time, so that
-- in the end everybody is found however many they are.
create or replace function private.ready_of_others(p_payers text[], p_busy text[], p_until timestamptz)
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
        select c.payer, c.ready_at into v_next, v_ready_at
        from private.connection_state as c
        where (c.payer, c.ready_at) > (v_payer, 'infinity') and c.ready_at < 'infinity'
        order by c.payer, c.ready_at, c.connection_id
        limit 1;
        if v_next is null and not v_is_second_round then
            v_is_second_round := true;
            v_payer := '';
            continue;
        end if;
        exit when v_next is null or (v_is_second_round and v_next > v_start);
        v_payer := v_next;
        continue when v_ready_at > p_until or v_payer = any(p_payers) or v_payer = any(p_busy);
        select c.connection_id into v_connection
        from private.connection_state as c
        where (c.payer, c.ready_at) >= (v_payer, '-infinity') and (c.payer, c.ready_at) <= (v_payer, p_until)
            and c.ready_at < 'infinity' and c.connection_id <> all(p_busy)
        order by c.payer, c.ready_at, c.connection_id
        limit 1;
        if v_connection is not null then
            return next v_connection;
        end if;
    end loop;
end
$$;

-- Whose turn it is: the connections that have waited longest, locked. Another daemon's are passed over, unless nothing else
-- is there: then its turn is over in a moment. Where more are ready than there are seats, nobody's many connections keep
-- another's waiting: first comes one of everybody, those first whose last turn was longest ago.
create or replace function private.take_turn(p_seats integer, p_busy text[], p_until timestamptz)
returns text[]
language plpgsql
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_turn text[];
    v_payers text[];
begin
    select array_agg(turn.connection_id), array_agg(distinct turn.payer) into v_turn, v_payers
    from (
        select c.connection_id, c.payer from private.connection_state as c
        where c.ready_at <= p_until and c.connection_id <> all(p_busy) and c.payer <> all(p_busy)
        order by c.ready_at, c.connection_id limit p_seats for update skip locked
    ) as turn;
    if cardinality(v_turn) = p_seats then
        with candidate as materialized (
            select c.connection_id, c.ready_at, c.payer
            from (
                select unnest(v_turn) as connection_id
                union
                select others.connection_id from private.ready_of_others(v_payers, p_busy, p_until) as others (connection_id)
            ) as known
            cross join lateral (
                select st.connection_id, st.ready_at, st.payer from private.connection_state as st
                where st.connection_id = any(array[known.connection_id]) limit 1 for update skip locked
            ) as c
        ),
        ranked as (
            select c.connection_id, c.ready_at, last_turn.turn_at,
                row_number() over (partition by c.payer order by c.ready_at, c.connection_id) as place
            from candidate as c
            cross join lateral (
                select p.turn_at from private.connection_state as p
                where p.payer = c.payer order by p.turn_at desc limit 1
            ) as last_turn
        )
        select array_agg(chosen.connection_id) into v_turn
        from (
            select r.connection_id from ranked as r order by r.place, r.turn_at, r.ready_at, r.connection_id limit p_seats
        ) as chosen;
    end if;
    if v_turn is null then
        begin
            select array_agg(turn.connection_id) into v_turn
            from (
                select c.connection_id from private.connection_state as c
                where c.ready_at <= p_until and c.connection_id <> all(p_busy) and c.payer <> all(p_busy)
                order by c.ready_at, c.connection_id limit 1 for update
            ) as turn;
        exception when lock_not_available then
            null; -- who holds it holds it for longer than a turn takes
        end;
    end if;
    return v_turn;
end
$$;

revoke all on function private.ready_of_others, private.take_turn from public;
grant execute on function private.ready_of_others, private.take_turn to service_role;
