-- What `python -m worker doctor` asks of the database: whatever would keep a message from being
-- sent, recorded or rescued is a failure. In the end it tries.
create or replace function public.diagnose()
returns table (level text, what text, remedy text)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
begin
    -- What is missing of ours.
    return query
    select
        case when count(*) = 0 then 'ok' else 'failure' end,
        coalesce(
            'indexes are missing or invalid: ' || string_agg(needed.name, ', '),
            'all indexes are there and valid'
        ),
        case when count(*) > 0 then 'Run `migrate` again.' end
    from unnest(array[
        'scheduled_messages_due_idx',
        'scheduled_messages_occurrence_key',
        'broadcast_jobs_queued_idx',
        'broadcast_jobs_sending_idx',
        'broadcast_jobs_lease_idx',
        'idx_broadcast_messages_job_id'
    ]) as needed (name)
    where not exists (
        select 1
        from pg_catalog.pg_class as c
        join pg_catalog.pg_index as i on i.indexrelid = c.oid
        where c.relname = needed.name and i.indisvalid
    );

    return query
    select
        case when count(*) = 0 then 'ok' else 'failure' end,
        coalesce(
            'triggers are missing or disabled: '
            || string_agg(needed.table_name || '.' || needed.name, ', '),
            'the triggers, without which nothing falls due or is settled, are at work'
        ),
        string_agg(format(
            'alter table public.%s enable %s trigger %s;',
            needed.table_name,
            case needed.name when 'zz_set_due_at' then 'always' else '' end,
            needed.name
        ), ' ') || ' Where one does not exist, create it as sql/ does.'
    from (
        values
        ('scheduled_messages', 'zz_set_due_at'),
        ('scheduled_messages', 'guard_insert'),
        ('scheduled_messages', 'guard_update'),
        ('scheduled_messages', 'guard_update_by_service'),
        ('scheduled_messages', 'guard_delete'),
        ('scheduled_messages', 'guard_delete_by_service'),
        ('broadcast_messages', 'settle_scheduled_messages'),
        ('broadcast_jobs', 'settle_job_of_node_worker')
    ) as needed (table_name, name)
    where not exists (
        select from pg_catalog.pg_trigger as t
        where t.tgrelid = to_regclass('public.' || needed.table_name)
            and t.tgname = needed.name
            and t.tgenabled in ('O', 'A')
    );

    return query
    select
        'failure',
        count(*) || ' pending message(s) will not fall due when they should',
        'update public.scheduled_messages set due_at = null where status = ''pending'' '
        || 'and due_at is distinct from scheduled_at;'
    from public.scheduled_messages as s
    where s.status = 'pending' and s.due_at is distinct from s.scheduled_at
    having count(*) > 0;

    return query
    select
        case when count(*) = 0 then 'ok' else 'failure' end,
        coalesce(
            'the service key may not use: ' || string_agg(t.name, ', '),
            'the service key may use every table'
        ),
        case when count(*) > 0 then 'Run `migrate` again; it states every grant.' end
    from unnest(array[
        'public.scheduled_messages',
        'public.connections',
        'public.contacts',
        'public.broadcast_jobs',
        'public.broadcast_messages',
        'public.connection_settings'
    ]) as t (name)
    where exists (
        select from unnest(array['select', 'insert', 'update', 'delete']) as p (privilege)
        where not pg_catalog.has_table_privilege('service_role', t.name, p.privilege)
    );

    return query
    select
        case when count(*) = 0 then 'ok' else 'failure' end,
        coalesce(
            'other policies add up with ours: ' || string_agg(p.polname, ', '),
            'scheduled_messages has our policies and no other'
        ),
        case when count(*) > 0
            then 'Drop them: permissive policies widen what ours allow.'
        end
    from pg_catalog.pg_policy as p
    where p.polrelid = 'public.scheduled_messages'::regclass
        and p.polname not in (
            'scheduled_messages_select_policy',
            'scheduled_messages_insert_policy',
            'scheduled_messages_update_policy',
            'scheduled_messages_delete_policy',
            'scheduled_messages_member_policy'
        );

    -- What the project is like.
    return query
    select
        'warning',
        'row level security is off on ' || c.relname,
        'Everybody can see all of it, so everybody can send through any connection: enable it and '
        || 'write policies.'
    from pg_catalog.pg_class as c
    where not c.relrowsecurity
        and c.oid in (
            'public.scheduled_messages'::regclass,
            'public.connections'::regclass,
            'public.contacts'::regclass
        );

    return query
    select
        case when exists (
            select 1
            from pg_catalog.pg_publication_tables as p
            where p.pubname = 'supabase_realtime'
                and p.schemaname = 'public'
                and p.tablename = 'scheduled_messages'
        ) then 'ok' else 'warning' end,
        'scheduled_messages in the publication supabase_realtime',
        'Where this is a warning, Realtime tells nothing of changes; polls carry on.';

    return query
    select
        'warning',
        'connections is a view: a connection that is deleted or connected again is not noticed '
        || 'at once',
        'Nothing to do: its messages fail when they fall due, and what waits is looked at again '
        || 'within minutes.'
    from pg_catalog.pg_class as c
    where c.oid = 'public.connections'::regclass and c.relkind = 'v';

    return query
    select
        'warning',
        format(
            'contacts has no column %s: contacts'' ids are understood by nobody, only numbers are',
            needed.name
        ),
        format(
            'alter table public.contacts add column %s …; or go on writing numbers into '
            'contact_id.', needed.name
        )
    from (
        values
        ('phone_number', array['phone_number']),
        ('owner_id', array['owner_id', 'user_id'])
    ) as needed (name, any_of)
    where not exists (
        select from pg_catalog.pg_attribute as a
        where a.attrelid = 'public.contacts'::regclass
            and a.attname = any(needed.any_of)
            and not a.attisdropped
    );

    return query
    select 'failure', m.what, m.remedy from private.find_misfits() as m;

    return query
    select
        'failure',
        'contacts.id is ' || format_type(a.atttypid, null) || ' now',
        'select private.write_contact_key();'
    from pg_catalog.pg_attribute as a
    join pg_catalog.pg_proc as p
        on p.oid = 'private.contact_key(text)'::regprocedure and p.prorettype <> a.atttypid
    where a.attrelid = 'public.contacts'::regclass and a.attname = 'id';

    return query
    select
        'warning',
        count(*) || ' constraint(s) of scheduled_messages do not cover rows that were there before',
        'Validate them when it suits: see docs/upgrading.md.'
    from pg_catalog.pg_constraint as k
    where k.conrelid = 'public.scheduled_messages'::regclass and not k.convalidated
    having count(*) > 0;

    -- What is going on.
    return query
    select
        'warning',
        count(*) || ' row(s) cannot be written: ' || string_agg(distinct r.reason, '; '),
        'Change the trigger, check or column that refuses them; `status` lists them, and they are '
        || 'tried again by themselves.'
    from (select refused.reason from private.refused_rows as refused limit 1000) as r
    having count(*) > 0;

    return query
    select
        'warning',
        count(*) || ' connection(s) paused by what their gateway answered, such as '
        || min(state.connection_id || ': ' || state.paused_reason),
        'See what `status` says of them; they are asked for again and again, and go on by '
        || 'themselves.'
    from private.connection_state as state
    where state.paused_reason is not null
    having count(*) > 0;

    return query
    select
        'warning',
        count(*) || ' message(s) are in_queue: the upstream application has taken them for a queue '
        || 'of its own',
        'Where its scheduling workers are stopped nobody sends them. Make those without a '
        || 'broadcast_job_id pending again, as step 4 of docs/upgrading.md does it; its main '
        || 'server takes what is due at each of its starts.'
    from public.scheduled_messages as s
    where s.status = 'in_queue'
    having count(*) > 0;

    return query
    select
        'warning',
        count(*) || ' connection(s) send nothing, because their id was another account''s or a '
        || 'user made it up: '
        || string_agg(known.connection_id, ', ' order by known.connection_id),
        'Name the session with `connection ID sender=…`; `connection ID --forget` releases an id, '
        || 'and ends its settings.'
    from private.connection_owners as known
    join public.connections as c on c.id::text = known.connection_id
    left join public.connection_settings as settings
        on settings.connection_id = known.connection_id
    where known.is_held or (known.is_chosen and settings.sender is null)
    having count(*) > 0;

    return query
    select
        'warning',
        count(*) || ' connection(s) are gone, and their settings kept for the case that they come '
        || 'back: ' || string_agg(settings.connection_id, ', ' order by settings.connection_id),
        '`connection ID --forget` ends them.'
    from public.connection_settings as settings
    where not exists (
        select 1 from public.connections as c where c.id::text = settings.connection_id
    )
    having count(*) > 0;

    return query select * from private.find_strays();

    -- And whether it works.
    return query select * from private.rehearse();
    if not found then
        return query select
            'ok',
            'a message was sent, recorded, rescued and settled in a rehearsal, which was undone',
            null;
    end if;
end
$$;
revoke all on function public.diagnose() from public, anon, authenticated;
grant execute on function public.diagnose() to service_role;
