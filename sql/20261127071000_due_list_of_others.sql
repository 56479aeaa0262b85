-- Whoever has many rows due must not make others wait: beside the oldest rows of all, the daemon
-- lists the oldest of everybody. Who "everybody" is: the owner, or the connection where nobody owns
-- a row (worker/sending/planner.py). An index (scheduled_messages_payer_idx) has them in the order
-- of md5(coalesce(owner_id::text, connection_id) || repeat('*', priority)), which is every query's
-- spelling of it: what somebody writes to many (priority 1) is not the same payer's as what is
-- written to one, so that neither that owner's single messages wait for it.

-- The ids of rows that fall due after p_after and until p_until, of everybody but p_payers (as
-- md5): of each the oldest p_share. One step of an index from one to the next; a different start
-- each time, so that in the end everybody is found however many they are. Rows are compared and
-- nothing is sorted, so that no plan can go by another index.
create or replace function private.rows_of_others(
    p_payers text[],
    p_after timestamptz,
    p_until timestamptz,
    p_share integer,
    p_limit integer
)
returns setof uuid
language plpgsql
stable
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
declare
    v_most_payers constant integer := 2000;
    v_most_bytes_of_one constant bigint := 200000;
    v_most_bytes constant bigint := 2000000;
    v_start constant text := md5(random()::text);
    v_payer text := v_start;
    v_is_second_round boolean := false;
    v_due_at timestamptz;
    v_ids uuid[] := '{}';
    v_found uuid[];
    v_bytes bigint := 0;
    v_found_bytes bigint;
    v_next text;
begin
    for v_step in 1..v_most_payers loop
        -- The next payer, and when the first of theirs falls due.
        select
            md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)),
            s.due_at
        into v_next, v_due_at
        from public.scheduled_messages as s
        where (
            md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)), s.due_at
        ) > (v_payer, 'infinity')
            and s.due_at > '-infinity'
        order by
            md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)),
            s.due_at,
            s.id
        limit 1;
        if v_next is null and not v_is_second_round then
            v_is_second_round := true;
            v_payer := '';
            continue;
        end if;
        exit when v_next is null or (v_is_second_round and v_next > v_start);
        v_payer := v_next;
        continue when v_due_at > p_until or v_payer = any(p_payers);

        -- Their oldest.
        select
            array_agg(oldest.id),
            coalesce(sum(oldest.bytes), 0)
        into v_found, v_found_bytes
        from (
            select
                s.id,
                row_size.bytes,
                sum(row_size.bytes) over (
                    line rows between unbounded preceding and 1 preceding
                ) as bytes_before
            from public.scheduled_messages as s
            cross join lateral (
                select octet_length(s.message)
                    + coalesce(octet_length(s.caption), 0)
                    + coalesce(octet_length(s.media::text), 0)
                    + coalesce(octet_length(s.template::text), 0) as bytes
            ) as row_size
            where (
                md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)),
                s.due_at
            ) > (v_payer, p_after)
                and (
                    md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)),
                    s.due_at
                ) <= (v_payer, p_until)
                and s.due_at > '-infinity'
            window line as (
                order by
                    md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)),
                    s.due_at,
                    s.id
            )
            order by
                md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)),
                s.due_at,
                s.id
            limit least(p_share, p_limit - cardinality(v_ids))
        ) as oldest
        where coalesce(oldest.bytes_before, 0) < v_most_bytes_of_one;
        v_ids := v_ids || coalesce(v_found, '{}');
        v_bytes := v_bytes + v_found_bytes;
        exit when cardinality(v_ids) >= p_limit or v_bytes > v_most_bytes;
    end loop;
    return query select unnest(v_ids);
end
$$;
revoke all on function private.rows_of_others from public;
grant execute on function private.rows_of_others to service_role;

create or replace function public.get_due_of_others(p_payers text[])
returns setof public.scheduled_messages
language sql
stable
set search_path = ''
set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    select s.*
    from private.rows_of_others(
        p_payers => array(select md5(given.payer) from unnest(p_payers) as given (payer)),
        p_after => '-infinity',
        p_until => now(),
        p_share => 100,
        p_limit => 500
    ) as found (id)
    cross join lateral (
        select r.*
        from public.scheduled_messages as r
        where r.id = any(array[found.id])
        limit 1
    ) as s
    order by s.due_at, s.id
$$;
revoke all on function public.get_due_of_others(text[]) from public, anon, authenticated;
grant execute on function public.get_due_of_others(text[]) to service_role;
