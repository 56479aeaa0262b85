-- What is written out: the audit log to the files of EXPORT_DIR, and both commands of `export`.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- The next entries of these kinds after a place in the log, as one list, because a server may cut
-- the rows of an answer ("max rows") without a word. The order is that of transactions, up to the
-- oldest that is under way, so that nothing comes in between later. In a database that was
-- restored, transactions count anew; ids do not.
create or replace function public.read_audit_log(
    p_after_transaction text,
    p_after_id bigint,
    p_kinds text[],
    p_limit integer,
    p_connection_id text default null,
    p_since timestamptz default null
)
returns table (entries json)
language sql
stable
set search_path = ''
set lock_timeout = '2s'
as $$
    select coalesce(
        json_agg(
            json_build_object(
                'transaction', next.transaction::text,
                'id', next.id,
                'at', next.at,
                'connection_id', next.connection_id,
                'kind', next.kind,
                'record', next.record
            ) order by next.transaction, next.id
        ), '[]'
    )
    from (
        select entry.*
        from public.audit_log as entry
        where (entry.transaction, entry.id) > (
            case
                when p_after_transaction::xid8 < pg_snapshot_xmax(pg_current_snapshot())
                    then p_after_transaction::xid8
                else '0'::xid8
            end,
            p_after_id
        )
            and (
                p_after_transaction::xid8 < pg_snapshot_xmax(pg_current_snapshot())
                or entry.id > p_after_id
            )
            and entry.transaction < pg_snapshot_xmin(pg_current_snapshot())
            and entry.kind = any(p_kinds)
            and (p_connection_id is null or entry.connection_id = p_connection_id)
            and (p_since is null or entry.at >= p_since)
        order by entry.transaction, entry.id
        limit p_limit
    ) as next
$$;
revoke all on function public.read_audit_log from public, anon, authenticated;
grant execute on function public.read_audit_log to service_role;

-- Messages by their ids, after one of them.
create or replace function public.read_messages(
    p_after_id uuid,
    p_limit integer,
    p_connection_id text default null,
    p_since timestamptz default null
)
returns table (entries json)
language sql
stable
set search_path = ''
set lock_timeout = '2s'
as $$
    select coalesce(
        json_agg(
            json_build_object(
                'id', next.id,
                'connection_id', next.connection_id,
                'contact_id', next.contact_id,
                'type', next.type,
                'message', coalesce(nullif(next.message, ''), next.caption),
                'scheduled_at', next.scheduled_at,
                'status', next.status,
                'sent_at', next.sent_at,
                'delivery_status', next.delivery_status,
                'message_id', next.message_id,
                'error', next.error
            ) order by next.id
        ), '[]'
    )
    from (
        select message.*
        from public.scheduled_messages as message
        where message.id > p_after_id
            and (p_connection_id is null or message.connection_id = p_connection_id)
            and (p_since is null or message.scheduled_at >= p_since)
        order by message.id
        limit p_limit
    ) as next
$$;
revoke all on function public.read_messages from public, anon, authenticated;
grant execute on function public.read_messages to service_role;
