-- A look at what is there. What does not fit and can be made to, without rewriting a table or
-- changing what a value means, is; for the rest whoever applies these files gets one list of what
-- to do, and nothing has changed: all of this is one transaction. The doctor looks with the same
-- functions later on.
--   * May we: an earlier state of ours, rights, roles.
--   * Does it fit: private.find_misfits and the functions before it, each line with its remedy.
--   * Does it work: private.try_out writes what the daemon will, and is undone;
--     private.explain_fault says what stood in its way.
-- Locks: `access exclusive` on scheduled_messages and the broadcast tables where something is made
-- to fit.
set local lock_timeout = '1s';

-- May we migrate this database at all?
do $$
declare
    v_role constant text := quote_ident(current_user);
    v_earlier text;
    v_faults text[];
begin
    if to_regclass('supabase_migrations.schema_migrations') is not null then
        -- By the names: a project may have versions of the same days.
        execute $history$
            select min(h.version)
            from supabase_migrations.schema_migrations as h
            where h.version not like '20261127%'
                and h.name in (
                    'connections_and_contacts', 'due_at_of_old_rows', 'scheduled_messages_checks',
                    'enqueue_broadcast_jobs', 'settle_scheduled_messages'
                )
        $history$ into v_earlier;
    end if;
    if v_earlier is not null then
        raise exception using errcode = 'PT428', message = format(
            'This database was made by an earlier state of these files (version %s), which this '
            'one cannot follow: make it anew, as docs/upgrading.md says; nothing was changed.',
            v_earlier
        );
    end if;

    v_faults := array(
        select 'There is no table auth.users: this is not the database of a Supabase project. '
            'Look at DATABASE_URL.'
        where not exists (
            select from pg_class as c
            join pg_namespace as n on n.oid = c.relnamespace
            where n.nspname = 'auth' and c.relname = 'users'
        )
        union all
        select format(
            E'The role %1$s may not refer to auth.users.\n   grant usage on schema auth to %1$s; '
            'grant references, trigger on auth.users to %1$s;', v_role
        )
        from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname = 'auth'
            and c.relname = 'users'
            and not (
                has_schema_privilege(n.oid, 'usage')
                and has_table_privilege(c.oid, 'references')
                and has_table_privilege(c.oid, 'trigger')
            )
        union all
        select format(
            'The roles of the API are missing: %s. Look at DATABASE_URL.',
            string_agg(needed.name, ', ')
        )
        from unnest(array['anon', 'authenticated', 'service_role']) as needed (name)
        where to_regrole(needed.name) is null
        having count(*) > 0
        union all
        select format(
            E'The role %1$s may not create a schema.\n   grant create on database %2$I to %1$s;',
            v_role, current_database()
        )
        where to_regnamespace('private') is null
            and not has_database_privilege(current_database(), 'create')
        union all
        select format(
            E'The role %1$s may not create anything in the schema %2$s.\n'
            '   grant usage, create on schema %2$s to %1$s;', v_role, n.nspname
        )
        from pg_namespace as n
        where n.nspname in ('public', 'private')
            and not (has_schema_privilege(n.oid, 'usage') and has_schema_privilege(n.oid, 'create'))
        union all
        select format(
            E'The role %1$s does not own public.%2$I.\n   alter %3$s public.%2$I owner to %1$s;',
            v_role,
            c.relname,
            case c.relkind
                when 'v' then 'view'
                when 'm' then 'materialized view'
                when 'f' then 'foreign table'
                else 'table'
            end
        )
        from pg_class as c
        where c.oid in (
            to_regclass('public.scheduled_messages'),
            to_regclass('public.connections'),
            to_regclass('public.contacts'),
            to_regclass('public.broadcast_jobs'),
            to_regclass('public.broadcast_messages'),
            to_regclass('public.connection_settings')
        ) and not pg_has_role(c.relowner, 'usage')
    );
    if v_faults <> '{}' then
        raise exception using errcode = 'PT428', message = format(
            E'This database cannot be migrated as it is; nothing was changed. First:\n%s',
            (
                select string_agg(f.place || '. ' || f.fault, E'\n' order by f.place)
                from unnest(v_faults) with ordinality as f (fault, place)
            )
        );
    end if;
end
$$;

-- What the daemon keeps for itself lives in `private`, a schema that the API does not expose. Users
-- need nothing in it: the triggers that act for them are `security definer`, and firing a trigger
-- takes no privilege on its function. A schema of that name that is there already keeps its grants.
create schema if not exists private;

grant usage on schema private to service_role;

-- Whether a table is there and is ours: it has a column that nobody else's has.
create or replace function private.is_ours(p_table text, p_column text)
returns boolean
language sql
stable
set search_path = ''
as $$
    select exists (
        select from pg_catalog.pg_attribute as a
        where a.attrelid = to_regclass(p_table)
            and a.attname = p_column
            and not a.attisdropped
    )
$$;

-- The tables that a message is written to, as far as they are there.
create or replace function private.tables_of_messages()
returns setof pg_catalog.pg_class
language sql
stable
set search_path = ''
as $$
    select c.*
    from pg_catalog.pg_class as c
    where c.oid in (
        to_regclass('public.scheduled_messages'),
        to_regclass('public.broadcast_jobs'),
        to_regclass('public.broadcast_messages')
    )
$$;

-- What `alter …` calls a relation.
create or replace function private.kind_of(p_kind text)
returns text
language sql
immutable
set search_path = ''
as $$
    select case p_kind
        when 'v' then 'view'
        when 'm' then 'materialized view'
        when 'f' then 'foreign table'
        when 'S' then 'sequence'
        else 'table'
    end
$$;

-- What hangs on a column and stands in the way of a change of its type: statements that take it
-- away, and those that put it back. Views are put back by a person, who knows who may read them.
create or replace function private.find_dependents(p_table regclass, p_column text)
returns table (removal text, restoral text, is_view boolean)
language sql
stable
set search_path = ''
as $$
    with dependent as (
        select d.classid, d.objid
        from pg_catalog.pg_depend as d
        join pg_catalog.pg_attribute as a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
        where d.refobjid = p_table and a.attname = p_column
    )
    select
        format('drop policy if exists %I on %I.%I;', p.policyname, p.schemaname, p.tablename),
        format(
            'create policy %I on %I.%I as %s for %s to %s%s%s;',
            p.policyname,
            p.schemaname,
            p.tablename,
            p.permissive,
            p.cmd,
            (
                select string_agg(case r when 'public' then r else quote_ident(r) end, ', ')
                from unnest(p.roles) as r
            ),
            ' using (' || p.qual || ')',
            ' with check (' || p.with_check || ')'
        ),
        false
    from dependent as d
    join pg_catalog.pg_policy as o on o.oid = d.objid
    join pg_catalog.pg_class as c on c.oid = o.polrelid
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    join pg_catalog.pg_policies as p
        on p.schemaname = n.nspname and p.tablename = c.relname and p.policyname = o.polname
    where d.classid = 'pg_catalog.pg_policy'::regclass
    union
    select
        format('drop trigger if exists %I on %s;', t.tgname, t.tgrelid::regclass),
        pg_catalog.pg_get_triggerdef(t.oid) || ';',
        false
    from dependent as d
    join pg_catalog.pg_trigger as t on t.oid = d.objid
    where d.classid = 'pg_catalog.pg_trigger'::regclass
    union
    select
        format('drop %s if exists %s;', private.kind_of(c.relkind), c.oid::regclass),
        format(
            'create %s %s as %s',
            private.kind_of(c.relkind), c.oid::regclass, pg_catalog.pg_get_viewdef(c.oid)
        ),
        true
    from dependent as d
    join pg_catalog.pg_rewrite as r on r.oid = d.objid
    join pg_catalog.pg_class as c on c.oid = r.ev_class
    where d.classid = 'pg_catalog.pg_rewrite'::regclass and c.oid <> p_table
$$;

-- Columns whose type does not suit the use that we make of them. Of the kinds, `id` is uuid or
-- text, `time` has a zone or none.
create or replace function private.find_unfit_columns()
returns table (what text, remedy text, is_safe boolean)
language sql
stable
set search_path = ''
as $$
    with wanted (table_name, kind, names) as (
        values
        ('scheduled_messages', 'text', array[
            'connection_id', 'contact_id', 'message', 'type', 'media_url', 'caption', 'status',
            'message_id', 'error', 'recurrence_pattern', 'timezone', 'waiting_reason',
            'delivery_status', 'category', 'held'
        ]),
        ('scheduled_messages', 'uuid', array[
            'id', 'created_by', 'owner_id', 'asset_id', 'series_id', 'next_id', 'broadcast_job_id',
            'source_id'
        ]),
        ('scheduled_messages', 'timestamp with time zone', array[
            'scheduled_at', 'created_at', 'sent_at', 'next_scheduled_at', 'recurrence_end_at',
            'occurrence_at', 'due_at', 'waiting_until', 'not_after'
        ]),
        ('scheduled_messages', 'time', array['updated_at']),
        ('scheduled_messages', 'timestamp without time zone', array['series_anchor']),
        ('scheduled_messages', 'boolean', array['is_recurring']),
        ('scheduled_messages', 'integer', array[
            'missed', 'revision', 'source_position', 'source_try'
        ]),
        ('scheduled_messages', 'smallint', array['priority']),
        ('scheduled_messages', 'jsonb', array['template']),
        ('scheduled_messages', 'json', array['media']),
        ('broadcast_jobs', 'text', array[
            'connection_id', 'type', 'message', 'media_url', 'caption', 'media', 'status',
            'contact_id', 'recipient', 'gateway', 'error_message', 'broadcast_name'
        ]),
        ('broadcast_jobs', 'uuid', array['id', 'scheduled_message_id', 'series_id', 'lease_token']),
        ('broadcast_jobs', 'id', array['user_id', 'asset_id']),
        ('broadcast_jobs', 'text[]', array['contacts']),
        ('broadcast_jobs', 'boolean', array['isprivatemessage']),
        ('broadcast_jobs', 'smallint', array['priority']),
        ('broadcast_jobs', 'jsonb', array['template']),
        ('broadcast_jobs', 'integer', array[
            'progress', 'total_contacts', 'sent_count', 'failed_count', 'attempts', 'throttled'
        ]),
        ('broadcast_jobs', 'time', array['completed_at', 'updated_at', 'created_at']),
        ('broadcast_jobs', 'timestamp with time zone', array[
            'schedule', 'available_at', 'expires_at', 'lease_until', 'send_at', 'send_until'
        ]),
        ('broadcast_messages', 'text', array[
            'contact', 'message', 'type', 'media_url', 'caption', 'status', 'message_id', 'error',
            'delivery_status'
        ]),
        ('broadcast_messages', 'uuid', array['id', 'job_id', 'scheduled_message_id']),
        ('broadcast_messages', 'time', array['updated_at', 'created_at']),
        ('broadcast_messages', 'timestamp with time zone', array['sent_at'])
    ),
    -- Those that are there, with the type that each has; `base` is a domain's.
    held as (
        select
            w.kind,
            a.attrelid,
            a.attnum,
            a.attname::text as name,
            'public.' || w.table_name as table_name,
            a.attgenerated,
            a.atthasdef and a.attgenerated = '' as has_default,
            format_type(a.atttypid, a.atttypmod) as type,
            format_type(base.oid, null) as base,
            t.typname = 'citext' as is_citext,
            t.typtype = 'd'
            or (base.oid = 'pg_catalog.varchar'::regtype and a.atttypmod > 0) as is_narrow
        from wanted as w
        join pg_catalog.pg_attribute as a
            on a.attrelid = to_regclass('public.' || w.table_name)
            and a.attname = any(w.names)
            and not a.attisdropped
        join pg_catalog.pg_type as t on t.oid = a.atttypid
        cross join lateral (select coalesce(nullif(t.typbasetype, 0), t.oid) as oid) as base
    ),
    -- Whether that is a type of the same kind; where it is not, how its values become ours.
    judged as (
        select
            h.*,
            case h.kind
                when 'text' then h.base in ('text', 'character varying') or h.is_citext
                when 'id' then h.base in ('uuid', 'text', 'character varying')
                when 'time' then h.base in (
                    'timestamp with time zone', 'timestamp without time zone'
                )
                when 'integer' then h.base in ('smallint', 'integer', 'bigint', 'numeric')
                when 'json' then h.base in ('json', 'jsonb')
                else h.base = h.kind
            end as is_alike,
            case
                when h.name = 'id' then null
                when h.kind = 'text' then '%I::text'
                when h.kind = 'text[]' and h.base in ('json', 'jsonb')
                    then 'translate(%I::text, ''[]'', ''{}'')::text[]'
                when h.kind = 'json' and h.base not in ('text', 'character varying')
                    then 'to_json(%I)'
                when h.base in ('text', 'character varying')
                    and h.kind in ('uuid', 'boolean', 'json', 'timestamp with time zone')
                    then 'nullif(%I, '''')::' || h.kind
                when h.kind = 'boolean' and h.base in ('smallint', 'integer', 'bigint')
                    then '%I <> 0'
                when h.kind <> 'timestamp with time zone' then null
                when h.base in ('timestamp without time zone', 'date')
                    then '%I::timestamp at time zone ''UTC'''
                when h.base in ('integer', 'bigint', 'numeric', 'double precision')
                    then 'to_timestamp(%I)'
            end as conversion,
            case
                when h.name = 'status' and h.table_name like '%\_jobs' then '''queued'''
                when h.name = 'status' then '''pending'''
                when h.name = 'type' then '''text'''
                when h.name = 'created_at' then 'now()'
                when h.kind = 'boolean' then 'false'
                else 'null'
            end as our_default
        from held as h
    )
    select
        format('%s.%I is %s.', j.table_name, j.name, case
            when j.attgenerated <> '' then 'a generated column, and we write it'
            when j.is_alike then j.type || ', which is too narrow for what we write'
            when j.base in ('timestamp without time zone', 'date')
                then j.type || ': in which time zone? The statement takes it for UTC'
            else j.type || ', not ' || case j.kind
                when 'id' then 'uuid'
                when 'time' then 'timestamptz'
                else j.kind
            end
        end),
        case
            when j.attgenerated = 'v' then format(
                'alter table %1$s drop column %2$I, add column %2$I %3$s;',
                j.table_name, j.name, j.type
            )
            when j.attgenerated = 's' then format(
                'alter table %s alter column %I drop expression;', j.table_name, j.name
            )
            when j.is_alike then concat_ws(
                ' ',
                own.removals,
                format('alter table %s alter column %I type %s;', j.table_name, j.name, j.kind),
                own.restorals
            )
            when j.name = 'id' then format(
                'alter table %1$s rename column id to own_id; '
                'alter table %1$s add column id uuid not null unique default gen_random_uuid();',
                j.table_name
            )
            when j.conversion is null then format(
                'alter table %s rename column %I to own_%s;', j.table_name, j.name, j.name
            )
            else concat_ws(
                ' ',
                own.removals,
                tied.removals,
                case when j.has_default then format(
                    'alter table %s alter column %I drop default;', j.table_name, j.name
                ) end,
                format(
                    'alter table %s alter column %I type %s using %s;',
                    j.table_name, j.name, j.kind, format(j.conversion, j.name)
                ),
                case when j.has_default then format(
                    'alter table %s alter column %I set default %s;',
                    j.table_name, j.name, j.our_default
                ) end
            )
        end,
        j.is_alike and j.attgenerated = '' and own.views = 0
    from judged as j
    cross join lateral (
        select
            string_agg(d.removal, ' ' order by d.removal) as removals,
            string_agg(d.restoral, ' ' order by d.restoral) as restorals,
            count(*) filter (where d.is_view) as views
        from private.find_dependents(j.attrelid, j.name) as d
    ) as own
    -- Foreign keys, checks and partial indexes are written for the type that the column has now.
    cross join lateral (
        select string_agg(found.removal, ' ') as removals
        from (
            select format(
                'alter table %s drop constraint if exists %I;', k.conrelid::regclass, k.conname
            ) as removal
            from pg_catalog.pg_constraint as k
            where k.contype in ('f', 'c')
                and k.conrelid = j.attrelid
                and j.attnum = any(k.conkey)
            union
            select format('drop index if exists %s;', i.indexrelid::regclass)
            from pg_catalog.pg_index as i
            join pg_catalog.pg_depend as d
                on d.objid = i.indexrelid and d.classid = 'pg_catalog.pg_class'::regclass
            where i.indrelid = j.attrelid
                and i.indpred is not null
                and d.refobjid = j.attrelid
                and d.refobjsubid = j.attnum
        ) as found
    ) as tied
    where not j.is_alike
        or j.attgenerated <> ''
        or (j.kind in ('text', 'uuid', 'timestamp with time zone') and j.is_narrow)
$$;

-- Rules of the tables that hold back what we write: NOT NULL where we know nothing, and checks.
-- Those of the broadcast tables go on holding for the application's own rows; a check on `status`
-- lets ours pass beside its own.
create or replace function private.find_hindering_rules()
returns table (what text, remedy text, is_safe boolean)
language sql
stable
set search_path = ''
as $$
    -- Columns that must not be null, keys apart.
    with held as (
        select
            a.attname::text as name,
            c.relname::text as table_name,
            c.relname <> 'scheduled_messages' as is_broadcast,
            a.atthasdef or a.attidentity <> '' or a.attgenerated <> '' as has_default
        from private.tables_of_messages() as c
        join pg_catalog.pg_attribute as a
            on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where a.attnotnull
            and not exists (
                select from pg_catalog.pg_constraint as k
                where k.conrelid = c.oid and k.contype = 'p' and a.attnum = any(k.conkey)
            )
    )
    select
        format(
            'public.%I.%I must not be null, and we may have nothing to put there.',
            h.table_name, h.name
        ),
        case
            when h.is_broadcast then format(
                'alter table public.%1$I add column if not exists scheduled_message_id uuid; '
                'alter table public.%1$I alter column %2$I drop not null, '
                'add constraint %3$I check (scheduled_message_id is not null or %2$I is not null) '
                'not valid;',
                h.table_name, h.name, left(h.table_name || '_' || h.name, 56) || '_given'
            )
            else format(
                'alter table public.%I alter column %I drop not null;', h.table_name, h.name
            )
        end,
        true
    from held as h
    where case
        when not h.is_broadcast then h.name in (
            'created_by', 'owner_id', 'media_url', 'caption', 'media', 'asset_id', 'sent_at',
            'message_id', 'error', 'recurrence_pattern', 'is_recurring', 'next_scheduled_at',
            'timezone', 'recurrence_end_at', 'series_id', 'series_anchor', 'occurrence_at',
            'next_id', 'broadcast_job_id', 'due_at', 'waiting_reason', 'waiting_until',
            'delivery_status'
        )
        when h.name in (
            'message', 'media_url', 'caption', 'media', 'variables', 'asset_id', 'user_id',
            'recipient', 'contact_id', 'message_id', 'error', 'sent_at', 'completed_at', 'data'
        ) then true
        else not h.has_default and h.name not in (
            'job_id', 'connection_id', 'type', 'contact', 'contacts', 'status', 'schedule',
            'total_contacts', 'broadcast_name'
        )
    end
    union all
    select
        format('The check %I on public.%I is for rows of the application.', k.conname, c.relname),
        format(
            'alter table public.%1$I add column if not exists scheduled_message_id uuid; '
            'alter table public.%1$I drop constraint %2$I; '
            'alter table public.%1$I add constraint %2$I '
            'check (scheduled_message_id is not null or (%3$s)) not valid;',
            c.relname, k.conname, rule.condition
        ),
        true
    from private.tables_of_messages() as c
    join pg_catalog.pg_constraint as k on k.conrelid = c.oid and k.contype = 'c'
    cross join lateral (
        select pg_catalog.pg_get_expr(k.conbin, k.conrelid) as condition
    ) as rule
    where c.relname <> 'scheduled_messages'
        and rule.condition not like '%scheduled\_message\_id IS NOT NULL) OR%'
    union all
    -- Before ours are there, one check that knows the project's statuses and ours; later on, what
    -- does not know ours.
    select
        format(
            'The check %s on public.scheduled_messages.status does not know all of ours.',
            string_agg(k.conname, ', ')
        ),
        format(
            '%s alter table public.scheduled_messages '
            'drop constraint if exists scheduled_messages_status_known; '
            'alter table public.scheduled_messages '
            'add constraint scheduled_messages_status_known check ((%s) or status in ('
            '''pending'', ''processing'', ''sent'', ''failed'', ''unconfirmed'', ''cancelled'', '
            '''in_queue'')) not valid;',
            string_agg(
                format('alter table public.scheduled_messages drop constraint %I;', k.conname), ' '
            ),
            string_agg(rule.condition, ' and ')
        ),
        true
    from pg_catalog.pg_constraint as k
    join pg_catalog.pg_attribute as a on a.attrelid = k.conrelid and a.attname = 'status'
    cross join lateral (
        select pg_catalog.pg_get_expr(k.conbin, k.conrelid) as condition
    ) as rule
    where k.conrelid = to_regclass('public.scheduled_messages')
        and k.contype = 'c'
        and k.conkey = array[a.attnum]
        and k.conname <> 'scheduled_messages_status_known'
        and not (
            private.is_ours('private.connection_state', 'ready_at')
            and rule.condition like all (array[
                '%''pending''%', '%''processing''%', '%''sent''%', '%''failed''%',
                '%''unconfirmed''%', '%''cancelled''%', '%''in\_queue''%'
            ])
        )
    having count(*) > 0
$$;

-- What of ours is not there, or is something else of that name.
create or replace function private.find_unfit_tables()
returns table (what text, remedy text, is_safe boolean)
language sql
stable
set search_path = ''
as $$
    -- What is no table, or one in parts, becomes a table of its own beside it.
    select
        format('public.%I is %s, not a table.', c.relname, case c.relkind
            when 'p' then 'partitioned'
            when 'f' then 'a foreign table'
            else 'a view'
        end),
        format(
            'alter %2$s public.%1$I rename to own_%1$s; '
            'create table public.%1$I (like public.own_%1$s '
            'including defaults including generated including identity); '
            'insert into public.%1$I select * from public.own_%1$s; '
            'alter table public.%1$I add primary key (id);',
            c.relname, private.kind_of(c.relkind)
        ),
        false
    from pg_catalog.pg_class as c
    where c.relkind <> 'r'
        and c.oid in (
            to_regclass('public.scheduled_messages'),
            to_regclass('public.broadcast_jobs'),
            to_regclass('public.broadcast_messages'),
            to_regclass('public.connection_settings')
        )
    union all
    -- None of our triggers and indexes would hold for its rows, which show among the other's.
    select
        format('%s inherits from public.%I.', k.oid::regclass, c.relname),
        format(
            'with moved as (delete from only %1$s returning *) insert into public.%2$I (%3$s) '
            'overriding system value select %3$s from moved; '
            'alter table %1$s no inherit public.%2$I;',
            k.oid::regclass,
            c.relname,
            (
                select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
                from pg_catalog.pg_attribute as a
                where a.attrelid = c.oid
                    and a.attnum > 0
                    and not a.attisdropped
                    and a.attgenerated = ''
            )
        ),
        false
    from pg_catalog.pg_class as c
    join pg_catalog.pg_inherits as i on i.inhparent = c.oid
    join pg_catalog.pg_class as k on k.oid = i.inhrelid
    where c.relkind = 'r'
        and c.oid in (
            to_regclass('public.scheduled_messages'),
            to_regclass('public.broadcast_jobs'),
            to_regclass('public.broadcast_messages'),
            to_regclass('public.connections'),
            to_regclass('public.contacts'),
            to_regclass('public.connection_settings')
        )
    union all
    -- Columns without which nothing goes; one that is called otherwise is known by its other names.
    select
        format('public.%I has no column %I.', needed.table_name, needed.name),
        coalesce(
            (
                select format(
                    'alter table public.%I rename column %I to %I;',
                    needed.table_name, a.attname, needed.name
                )
                from unnest(needed.other_names) with ordinality as other (name, place)
                join pg_catalog.pg_attribute as a
                    on a.attrelid = to_regclass('public.' || needed.table_name)
                    and a.attname = other.name
                    and not a.attisdropped
                order by other.place
                limit 1
            ),
            format(
                'alter table public.%I add column %I %s;',
                needed.table_name, needed.name, needed.definition
            )
        ),
        needed.is_safe
    from (
        values
        (
            'scheduled_messages', 'id', '{}'::text[],
            'uuid not null unique default gen_random_uuid()', false
        ),
        (
            'scheduled_messages', 'connection_id', '{session_id,device_id,instance_id,connection}',
            'text', false
        ),
        (
            'scheduled_messages', 'contact_id',
            '{recipient,phone_number,phone,to_number,chat_id,contact}',
            'text', false
        ),
        (
            'scheduled_messages', 'message', '{body,content,text,message_text}',
            'text', false
        ),
        (
            'scheduled_messages', 'scheduled_at', '{send_at,scheduled_for,scheduled_time,run_at}',
            'timestamptz', false
        ),
        ('scheduled_messages', 'type', '{}', 'text not null default ''text''', true),
        ('scheduled_messages', 'status', '{}', 'text not null default ''pending''', true),
        ('scheduled_messages', 'created_at', '{}', 'timestamptz not null default now()', true),
        ('connections', 'id', '{}', 'text primary key default gen_random_uuid()::text', false),
        ('contacts', 'id', '{}', 'bigint generated by default as identity', false),
        ('broadcast_jobs', 'id', '{}', 'uuid primary key default gen_random_uuid()', false),
        ('broadcast_messages', 'id', '{}', 'uuid primary key default gen_random_uuid()', false)
    ) as needed (table_name, name, other_names, definition, is_safe)
    join pg_catalog.pg_class as c
        on c.oid = to_regclass('public.' || needed.table_name) and c.relkind <> 'c'
    where not exists (
        select from pg_catalog.pg_attribute as a
        where a.attrelid = c.oid and a.attname = needed.name and not a.attisdropped
    )
    union all
    select
        format('%s is another table than ours of that name.', c.oid::regclass),
        format(
            'alter %s %s rename to own_%s;',
            private.kind_of(c.relkind), c.oid::regclass, c.relname
        ),
        false
    from (
        values
        ('public.connection_settings', 'window_start'),
        ('private.connection_state', 'ready_at'),
        ('private.recipient_state', 'free_at'),
        ('private.connection_owners', 'is_held'),
        ('private.erasures', 'job_id'),
        ('private.limits', 'value'),
        ('private.owner_load', 'minute'),
        ('private.timezones', 'folded'),
        ('private.gateways', 'one_at_a_time'),
        ('private.refused_rows', 'step')
    ) as ours (name, its_column)
    join pg_catalog.pg_class as c on c.oid = to_regclass(ours.name)
    where c.relkind in ('r', 'p', 'f', 'm', 'v', 'S')
        and not (c.relkind = 'r' and private.is_ours(ours.name, ours.its_column))
        and not (c.relkind <> 'r' and ours.name = 'public.connection_settings')
    union all
    select
        format('%s is a type, and ours of that name is a table.', t.oid::regtype),
        format(
            'alter %s %s rename to own_%s;',
            case t.typtype when 'd' then 'domain' else 'type' end, t.oid::regtype, t.typname
        ),
        false
    from pg_catalog.pg_type as t
    left join pg_catalog.pg_class as c on c.oid = t.typrelid
    where t.typnamespace = 'public'::regnamespace
        and t.typname in (
            'connection_settings', 'scheduled_messages', 'connections', 'contacts',
            'broadcast_jobs', 'broadcast_messages'
        )
        and (t.typrelid = 0 or c.relkind = 'c')
        and t.typelem = 0
$$;

-- What keeps a table of messages from being read, written or kept as we need it.
create or replace function private.find_unfit_ways()
returns table (what text, remedy text, is_safe boolean)
language sql
stable
set search_path = ''
as $$
    select
        format('public.%I.id is not unique.', c.relname),
        format('alter table public.%I add unique (id);', c.relname),
        false
    from private.tables_of_messages() as c
    join pg_catalog.pg_attribute as a
        on a.attrelid = c.oid and a.attname = 'id' and not a.attisdropped
    where c.relkind = 'r'
        and a.atttypid = 'uuid'::regtype
        and not exists (
            select from pg_catalog.pg_index as i
            where i.indrelid = c.oid
                and i.indisunique
                and i.indpred is null
                and i.indnkeyatts = 1
                and i.indkey[0] = a.attnum
        )
    union all
    -- Nothing that a publication tells of can be changed without one.
    select
        format(
            'public.%I has no primary key, and a publication needs to tell its rows apart.',
            c.relname
        ),
        format('alter table public.%I replica identity full;', c.relname),
        true
    from private.tables_of_messages() as c
    where c.relkind = 'r'
        and c.relreplident = 'd'
        and not exists (
            select from pg_catalog.pg_index as i where i.indrelid = c.oid and i.indisprimary
        )
    union all
    -- A new row takes its number from there, with the rights of whoever writes it.
    select
        format(
            'The service key may not use the sequence %s, which numbers public.%I.',
            sequence.oid::regclass, c.relname
        ),
        format(
            'grant usage on sequence %s to %s;', sequence.oid::regclass, case c.relname
                when 'scheduled_messages' then 'authenticated, service_role'
                else 'service_role'
            end
        ),
        true
    from private.tables_of_messages() as c
    join pg_catalog.pg_attrdef as f on f.adrelid = c.oid
    join pg_catalog.pg_depend as d
        on d.objid = f.oid
        and d.classid = 'pg_catalog.pg_attrdef'::regclass
        and d.refclassid = 'pg_catalog.pg_class'::regclass
    join pg_catalog.pg_class as sequence on sequence.oid = d.refobjid
    where case
        when sequence.relkind = 'S'
            then not has_sequence_privilege('service_role', sequence.oid, 'usage')
    end
    union all
    select
        format('public.%I is unlogged: a crash of the server empties it.', c.relname),
        format('alter table public.%I set logged;', c.relname),
        false
    from private.tables_of_messages() as c
    where c.relkind = 'r' and c.relpersistence = 'u'
    union all
    select
        format(
            'The rule %I of public.%I keeps statements with several parts from it.',
            r.rulename, c.relname
        ),
        format('drop rule %I on public.%I;', r.rulename, c.relname),
        false
    from private.tables_of_messages() as c
    join pg_catalog.pg_rewrite as r on r.ev_class = c.oid and r.ev_type <> '1'
    where c.relkind = 'r'
    union all
    -- What we write there need not be in another table.
    select
        format(
            'The foreign key %I ties public.%I.%I to another table.',
            k.conname, c.relname, a.attname
        ),
        format('alter table public.%I drop constraint %I;', c.relname, k.conname),
        false
    from private.tables_of_messages() as c
    join pg_catalog.pg_constraint as k on k.conrelid = c.oid and k.contype = 'f'
    join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum = any(k.conkey)
    where c.relname <> 'scheduled_messages'
        and (
            a.attname in ('id', 'contact', 'contact_id', 'recipient', 'type', 'status')
            or (
                a.attname = 'job_id'
                and k.confrelid is distinct from to_regclass('public.broadcast_jobs')
            )
        )
$$;

-- All that keeps these files, or a message, from their way, as far as the catalog tells. `is_safe`:
-- migrate does it.
create or replace function private.find_misfits()
returns table (what text, remedy text, is_safe boolean)
language sql
stable
set search_path = ''
as $$
    select * from private.find_unfit_tables()
    union all
    select * from private.find_unfit_columns()
    union all
    select * from private.find_hindering_rules()
    union all
    select * from private.find_unfit_ways()
$$;

-- Functions of the project's own that ours would take the place of, before ours are there. (Those
-- with more than six arguments nobody else has.)
create or replace function private.find_namesakes()
returns table (what text, remedy text, is_safe boolean)
language sql
stable
set search_path = ''
as $$
    select
        format('%s is a function of this project; ours has that name.', p.oid::regprocedure),
        format('alter routine %s rename to own_%s;', p.oid::regprocedure, p.proname),
        false
    from unnest(array[
        'public.connection_usage(text)',
        'public.count_upcoming_messages(text, date, date)',
        'public.diagnose()',
        'public.enqueue_broadcast_jobs(text, double precision)',
        'public.finish_probes(text[], text[])',
        'public.forget_connection(text)',
        'public.get_agenda(double precision, integer, double precision)',
        'public.get_due_of_others(text[])',
        'public.get_holders()',
        'public.get_pending_scheduled_messages_after(timestamptz, uuid)',
        'public.get_status(double precision)',
        'public.get_timezones(text, integer)',
        'public.look_up_recipients(uuid[])',
        'public.record_deliveries(text)',
        'public.record_outcomes(text)',
        'public.rescue_broadcast_jobs(double precision)',
        'public.resolve_scheduled_message(uuid, text)',
        'public.take_probes(integer)',
        'public.take_withdrawn_jobs()',
        'private.announce_connection()',
        'private.calendar(text, time, time, timestamptz)',
        'private.cancel_messages_of_connection()',
        'private.cancel_messages_of_user()',
        'private.complete_old_row()',
        'private.confirm_connection()',
        'private.guard_broadcasts()',
        'private.guard_delete()',
        'private.guard_insert()',
        'private.guard_update()',
        'private.hold_limits()',
        'private.hold_right()',
        'private.name_timezone()',
        'private.next_expiry()',
        'private.refuse_nonsense()',
        'private.refuse_strange_connection()',
        'private.remember_owner()',
        'private.set_due_at()',
        'private.settle_scheduled_messages()'
    ]) as ours (signature)
    join pg_catalog.pg_proc as p on p.oid = to_regprocedure(ours.signature)
    where not private.is_ours('private.connection_state', 'ready_at')
$$;

-- Inserts a made-up row, and returns it as it was stored: what is given, and for what else must be
-- there something of the right type, from another row, or from the table that a foreign key leads
-- to. For rehearsals that are undone.
create or replace function private.make_up(
    p_table regclass, p_given jsonb, p_depth integer default 0
)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
    v_most_parents constant integer := 3;
    v_row jsonb := '{}';
    v_like jsonb;
    v_value jsonb;
    v_column record;
begin
    execute format('select to_jsonb(t.*) from %s as t limit 1', p_table) into v_like;
    for v_column in
        select
            a.attname as name,
            a.attnotnull and not a.atthasdef as is_needed,
            a.atttypmod as width,
            t.typcategory as category,
            coalesce(nullif(t.typbasetype, 0), t.oid) as type,
            k.confrelid::regclass as parent,
            f.attname as parent_column,
            exists (
                select from pg_catalog.pg_index as i
                where i.indrelid = p_table and i.indisunique and a.attnum = any(i.indkey)
            ) as is_unique
        from pg_catalog.pg_attribute as a
        join pg_catalog.pg_type as t on t.oid = a.atttypid
        left join pg_catalog.pg_constraint as k
            on k.conrelid = p_table and k.contype = 'f' and k.conkey = array[a.attnum]
        left join pg_catalog.pg_attribute as f
            on f.attrelid = k.confrelid and f.attnum = k.confkey[1]
        where a.attrelid = p_table
            and a.attnum > 0
            and not a.attisdropped
            and a.attgenerated = ''
            and a.attidentity = ''
    loop
        v_value := p_given -> v_column.name;
        if v_column.parent <> p_table and (v_column.is_needed or v_value <> 'null') then
            execute format(
                'select to_jsonb(t.%I) from %s as t limit 1',
                v_column.parent_column, v_column.parent
            ) into v_value;
            if v_value is null and p_depth < v_most_parents then
                v_value := private.make_up(v_column.parent, '{}', p_depth + 1)
                    -> v_column.parent_column;
            end if;
        elsif v_value is null and v_column.is_needed then
            v_value := case
                when v_like is not null and not v_column.is_unique
                    then v_like -> v_column.name
                -- Of a varchar(n), its width is n + 4.
                when v_column.category = 'S' then to_jsonb(left(
                    'made up ' || random(),
                    case when v_column.width > 4 then v_column.width - 4 else 100 end
                ))
                when v_column.category = 'N' then to_jsonb(floor(random() * 30000))
                when v_column.category = 'B' then 'false'
                when v_column.category = 'D' then to_jsonb(now())
                when v_column.category = 'A' then '[]'
                when v_column.category = 'T' then '"1 hour"'
                when v_column.category = 'E' then (
                    select to_jsonb(e.enumlabel)
                    from pg_catalog.pg_enum as e
                    where e.enumtypid = v_column.type
                    order by e.enumsortorder
                    limit 1
                )
                when v_column.type = 'pg_catalog.uuid'::regtype then to_jsonb(gen_random_uuid())
                else '{}'
            end;
        end if;
        if v_value is not null then
            v_row := v_row || jsonb_build_object(v_column.name, v_value);
        end if;
    end loop;
    execute format(
        'insert into %1$s as stored (%2$s) '
        'select %2$s from jsonb_populate_record(null::%1$s, $1) returning to_jsonb(stored.*)',
        p_table, (
            select coalesce(string_agg(quote_ident(k), ', '), '')
            from jsonb_object_keys(v_row) as k
        )
    ) into v_row using v_row;
    return v_row;
end
$$;

-- What an error that a rehearsal met means, and what to do about it.
create or replace function private.explain_fault(
    p_state text,
    p_words text,
    p_table text,
    p_column text,
    p_constraint text,
    p_context text
)
returns table (what text, remedy text)
language sql
stable
set search_path = ''
as $$
    -- The project's own triggers: those whose function raised it, or all that could have changed
    -- the row. They go on holding for its users.
    with guilty as (
        select
            string_agg(format('%I', t.tgname), ', ' order by t.tgname) as names,
            string_agg(
                format(
                    'drop trigger if exists %I on %s; %s;',
                    t.tgname,
                    t.tgrelid::regclass,
                    case when t.tgqual is null then regexp_replace(
                        pg_catalog.pg_get_triggerdef(t.oid),
                        ' EXECUTE FUNCTION ',
                        ' WHEN (current_user in (''anon'', ''authenticated'')) EXECUTE FUNCTION '
                    ) else regexp_replace(
                        pg_catalog.pg_get_triggerdef(t.oid),
                        ' WHEN \((.*)\) EXECUTE FUNCTION ',
                        ' WHEN (current_user in (''anon'', ''authenticated'') and (\1)) '
                        'EXECUTE FUNCTION '
                    ) end
                ), ' ' order by t.tgname
            ) as remedies
        from private.tables_of_messages() as c
        join pg_catalog.pg_trigger as t on t.tgrelid = c.oid
        join pg_catalog.pg_proc as p on p.oid = t.tgfoid
        where not t.tgisinternal
            and t.tgenabled <> 'D'
            and not (
                p.pronamespace = to_regnamespace('private')
                and private.is_ours('private.connection_state', 'ready_at')
            )
            and case p_state
                -- Those that insert into it; where none is known to, any of them.
                when 'PT201' then t.tgtype & 20 > 0 -- on insert or update
                    and pg_catalog.pg_get_triggerdef(t.oid) !~* 'current_user'
                    and (p.prosrc ~* 'scheduled_messages' or not exists (
                        select from pg_catalog.pg_trigger as o
                        join pg_catalog.pg_proc as f on f.oid = o.tgfoid
                        where o.tgrelid = t.tgrelid and f.prosrc ~* 'insert.+scheduled_messages'
                    ))
                when 'PT200' then c.relname = p_table
                    and t.tgtype & 2 > 0 -- before
                    -- Those have been seen to.
                    and pg_catalog.pg_get_triggerdef(t.oid) !~* 'current_user'
                else p_context ~ ('function ([a-z0-9_"]+\.)?' || quote_ident(p.proname) || '\(')
            end
    ),
    heard as (
        select regexp_match(
            p_words, '^permission denied for (table|view|sequence|function|schema) (.+)$'
        ) as said
        where p_state = '42501'
    ),
    -- What the service key lacks, in the project's own schemas, by its name.
    lacking as (
        select format(
            case c.relkind
                when 'S' then 'grant usage on sequence %s to service_role;'
                else 'grant select, insert, update, delete on %s to service_role;'
            end, c.oid::regclass
        ) as remedy
        from heard
        join pg_catalog.pg_class as c on c.relname = heard.said[2]
        where heard.said[1] in ('table', 'view', 'sequence')
            and c.relkind in ('r', 'p', 'v', 'S')
            and c.relnamespace::regnamespace::text !~ '^(pg_|information_schema$)'
        union all
        select format('grant execute on routine %s to service_role;', p.oid::regprocedure)
        from heard
        join pg_catalog.pg_proc as p on p.proname = heard.said[2]
        where heard.said[1] = 'function'
            and p.pronamespace::regnamespace::text !~ '^(pg_|information_schema$)'
        union all
        select format('grant usage on schema %I to service_role;', heard.said[2])
        from heard
        where heard.said[1] = 'schema'
    )
    select
        format(
            '%s (SQLSTATE %s%s%s)',
            p_words,
            p_state,
            ', column ' || nullif(p_column, ''),
            ', trigger ' || guilty.names
        ),
        case
            when denied.remedies is not null then denied.remedies
            when guilty.remedies is not null then guilty.remedies
            when p_state in ('23514', '23503', '23P01') or (p_state = '23505' and exists (
                select from pg_catalog.pg_constraint as k
                where k.conname = p_constraint
                    and k.conrelid = to_regclass(format('public.%I', p_table))
            )) then format(
                'alter table public.%I drop constraint if exists %I;', p_table, p_constraint
            )
            when p_state = '23505' then format('drop index if exists public.%I;', p_constraint)
            when p_state = '23502' then format(
                'alter table public.%I alter column %I drop not null;', p_table, p_column
            )
            when p_state = '42501' then 'Grant it to service_role, as sql/ does: '
                || coalesce((regexp_match(p_words, 'permission denied for .*'))[1], p_words)
            else 'Look at: ' || coalesce(nullif(split_part(p_context, E'\n', 1), ''), p_words)
        end
    from guilty
    cross join (select string_agg(lacking.remedy, ' ') as remedies from lacking) as denied
$$;

-- Writes jobs as the daemon does, as far as the columns are there: one for each outcome, all of the
-- same connection and recipient, because a rule may want only one of them. Raises as try_out does.
create or replace function private.try_out_jobs(p_row jsonb, p_connection jsonb)
returns void
language plpgsql
volatile
set search_path = ''
as $$
declare
    v_given jsonb := jsonb_build_object(
        'scheduled_message_id', p_row -> 'id',
        'connection_id', p_connection,
        'recipient', '+10000000000',
        'contacts', '["+10000000000"]'::jsonb,
        'contact_id', '+10000000000',
        'type', p_row -> 'type',
        'message', p_row -> 'message',
        'schedule', now(),
        'total_contacts', 1,
        'broadcast_name', 'scheduled message',
        'isprivatemessage', true,
        'contact', '10000000000'
    );
    v_job jsonb;
    v_table regclass;
    v_outcome text;
    v_status text;
    v_stored jsonb;
begin
    if (
        select count(*)
        from pg_catalog.pg_attribute as a
        where a.attrelid in (
            to_regclass('public.broadcast_jobs'), to_regclass('public.broadcast_messages')
        ) and a.attname = 'id' and a.atttypid = 'pg_catalog.uuid'::regtype
    ) < 2 then
        return;
    end if;
    foreach v_outcome in array array['completed', 'failed', 'unconfirmed', 'cancelled'] loop
        v_job := jsonb_build_object('id', gen_random_uuid());
        v_job := v_given || v_job || jsonb_build_object('job_id', v_job -> 'id');
        foreach v_table in array array[
            to_regclass('public.broadcast_jobs'), to_regclass('public.broadcast_messages')
        ] loop
            v_job := v_job || jsonb_build_object('status', case
                when v_table = to_regclass('public.broadcast_jobs') then 'queued'
                else 'waiting'
            end);
            execute format(
                'insert into %1$s as stored (%2$s) select %2$s '
                'from jsonb_populate_record(null::%1$s, $1) returning to_jsonb(stored.*)',
                v_table, (
                    select string_agg(quote_ident(a.attname), ', ')
                    from pg_catalog.pg_attribute as a
                    where a.attrelid = v_table
                        and a.attnum > 0
                        and not a.attisdropped
                        and v_job ? a.attname
                )
            ) into v_stored using v_job;
            foreach v_status in array case
                when v_table <> to_regclass('public.broadcast_jobs')
                    then array[case v_outcome when 'completed' then 'sent' else v_outcome end]
                when v_outcome = 'cancelled' then array[v_outcome]
                else array['sending', v_outcome]
            end loop
                execute format(
                    'update %s as stored set status = $1 where stored.id = $2 '
                    'returning to_jsonb(stored.*)', v_table
                ) into v_stored using v_status, (v_stored ->> 'id')::uuid;
            end loop;
            if v_stored ->> 'status' is distinct from v_status then
                raise exception 'A trigger keeps the status % from being stored.', v_status
                    using errcode = 'PT200', table = split_part(v_table::text, '.', 2);
            end if;
        end loop;
    end loop;
end
$$;

-- Writes into scheduled_messages what the daemon would, on the columns that are there, and sees
-- that it was stored. Raises what the table raises, PT200 where a trigger writes something else,
-- PT299 in the end: nothing stays.
create or replace function private.try_out()
returns void
language plpgsql
volatile
set search_path = ''
as $$
declare
    v_given jsonb := jsonb_build_object(
        'connection_id', 'made up',
        'contact_id', '+10000000000',
        'message', 'Made up.',
        'type', 'text',
        'status', 'pending',
        'scheduled_at', now() + interval '1 day',
        'created_at', now() - interval '2 days',
        'is_recurring', false
    );
    v_sent constant jsonb := jsonb_build_object(
        'status', 'sent', 'sent_at', now(), 'message_id', repeat('m', 200)
    );
    v_failed constant jsonb := jsonb_build_object('status', 'failed', 'error', repeat('e', 2000));
    v_row jsonb;
    v_connection jsonb;
    v_change jsonb;
    v_stored jsonb;
    -- How many rows this transaction has inserted, its triggers' among them: before, and then.
    v_before bigint;
    v_added bigint[] := '{}';
begin
    -- What its application writes there passes its own rules, unless it may be there only once.
    begin
        v_row := private.make_up('public.scheduled_messages', v_given || coalesce((
            select jsonb_object_agg(own.name, own.value)
            from (select to_jsonb(s.*) as stored from public.scheduled_messages as s limit 1) as one
            cross join lateral jsonb_each(one.stored) as own (name, value)
            where own.name in ('connection_id', 'message', 'type', 'contact_id')
        ), '{}'));
    exception when unique_violation or exclusion_violation then
        v_row := private.make_up('public.scheduled_messages', v_given);
    end;
    if v_row is null then
        raise exception 'A trigger keeps rows from being stored.'
            using errcode = 'PT200', table = 'scheduled_messages';
    end if;
    v_before := pg_stat_get_xact_tuples_inserted('public.scheduled_messages'::regclass);
    v_connection := v_row -> 'connection_id';
    if exists (
        select from pg_catalog.pg_constraint as k
        where k.contype = 'f'
            and k.conrelid = to_regclass('public.broadcast_jobs')
            and k.confrelid = to_regclass('public.connections')
    ) then
        v_connection := private.make_up(to_regclass('public.connections'), '{}') -> 'id';
    end if;

    -- With the rights of the service key, as the daemon will. After a fault its caller goes back.
    if pg_has_role('service_role', 'member') then
        set local role service_role;
    end if;
    foreach v_change in array array[
        jsonb_build_object('status', 'pending', 'scheduled_at', now() - interval '1 day'),
        '{"status": "processing"}',
        v_sent,
        -- Once more, as a series.
        jsonb_build_object(
            'status', 'pending',
            'is_recurring', true,
            'recurrence_pattern', 'daily',
            'next_scheduled_at', now() + interval '1 day',
            'sent_at', null,
            'message_id', null
        ),
        '{"status": "processing"}',
        v_sent,
        v_failed || jsonb_build_object(
            'is_recurring', false,
            'recurrence_pattern', null,
            'next_scheduled_at', null,
            'sent_at', null,
            'message_id', null
        ),
        '{"status": "pending"}', '{"status": "processing"}',
        v_failed,
        '{"status": "pending"}', '{"status": "processing"}',
        v_failed || '{"status": "unconfirmed"}',
        '{"status": "pending"}', '{"status": "processing"}',
        '{"status": "cancelled"}',
        '{"status": "pending", "error": null}'
    ]::jsonb[] loop
        execute format(
            'update public.scheduled_messages as s set %s '
            'from jsonb_populate_record(null::public.scheduled_messages, $1) as n '
            'where s.id = $2 returning to_jsonb(s.*)',
            (
                select string_agg(format('%1$I = n.%1$I', k), ', ')
                from jsonb_object_keys(v_change) as k
                where v_row ? k
            )
        ) into v_stored using v_change, (v_row ->> 'id')::uuid;
        if v_stored ->> 'status' is distinct from v_change ->> 'status' then
            raise exception 'A trigger keeps the status % from being stored.', v_change ->> 'status'
                using errcode = 'PT200', table = 'scheduled_messages';
        end if;
        if v_change = v_sent then
            set constraints all immediate;
            set constraints all deferred;
            v_added := v_added
                || pg_stat_get_xact_tuples_inserted('public.scheduled_messages'::regclass);
        end if;
    end loop;
    if v_added[2] - v_added[1] > v_added[1] - v_before then
        raise exception 'A trigger adds a message when a recurring one is sent, and so does the '
            'daemon: each would go out twice' using errcode = 'PT201', table = 'scheduled_messages';
    end if;

    -- The next occurrence of a series.
    execute format(
        'insert into public.scheduled_messages (%1$s) '
        'select %1$s from jsonb_populate_record(null::public.scheduled_messages, $1)',
        (
            select string_agg(quote_ident(a.attname), ', ')
            from pg_catalog.pg_attribute as a
            where a.attrelid = 'public.scheduled_messages'::regclass
                and a.attnum > 0
                and not a.attisdropped
                and a.attgenerated = ''
                and a.attidentity = ''
                and (a.attname = 'id' or not a.atthasdef or v_given ? a.attname)
        )
    ) using v_row || jsonb_build_object(
        'id', gen_random_uuid(), 'scheduled_at', now() + interval '2 days'
    );

    -- Later on the rehearsal does more.
    if not private.is_ours('private.connection_state', 'ready_at') then
        perform private.try_out_jobs(v_row, v_connection);
    end if;
    set constraints all immediate;
    raise exception 'undone' using errcode = 'PT299';
end
$$;

revoke all on function private.is_ours, private.tables_of_messages, private.kind_of,
private.find_dependents, private.find_unfit_columns, private.find_hindering_rules,
private.find_unfit_tables, private.find_unfit_ways, private.find_misfits, private.find_namesakes,
private.make_up, private.explain_fault, private.try_out, private.try_out_jobs from public;
grant execute on function private.is_ours, private.tables_of_messages, private.kind_of,
private.find_dependents, private.find_unfit_columns, private.find_hindering_rules,
private.find_unfit_tables, private.find_unfit_ways, private.find_misfits, private.make_up,
private.explain_fault, private.try_out, private.try_out_jobs to service_role;

-- Makes fit what safely can be. Then tries, undoing each find, for as long as there are others
-- behind it; a big table whose columns are refused anyway is not tried.
do $$
declare
    v_most_told constant integer := 100;
    v_big_bytes constant bigint := 50000000;
    v_is_big constant boolean := coalesce(
        pg_total_relation_size(to_regclass('public.scheduled_messages')), 0
    ) > v_big_bytes;
    v_told text[] := '{}';
    v_misfit record;
    v_fault record;
    v_state text;
    v_words text;
    v_table text;
    v_column text;
    v_constraint text;
    v_context text;
begin
    for v_misfit in select * from private.find_misfits() as m where m.is_safe loop
        execute v_misfit.remedy;
    end loop;
    for v_misfit in
        select * from private.find_misfits()
        union all
        select * from private.find_namesakes()
    loop
        v_told := v_told || (v_misfit.what || E'\n   ' || v_misfit.remedy);
        if not v_is_big then
            begin
                execute v_misfit.remedy;
            exception when others then
                v_told := v_told || format(
                    'The statement above does not work here: %s.', sqlerrm
                );
            end;
        end if;
    end loop;

    for v_table in
        select c.oid::regclass::text
        from pg_class as c
        where c.relkind <> 'c'
            and c.oid in (
                to_regclass('public.scheduled_messages'),
                to_regclass('public.connections'),
                to_regclass('public.contacts'),
                to_regclass('public.broadcast_jobs'),
                to_regclass('public.broadcast_messages')
            )
    loop
        execute format('grant select, insert, update, delete on %s to service_role', v_table);
    end loop;

    while to_regclass('public.scheduled_messages') is not null
        and cardinality(v_told) < v_most_told
        and (v_told = '{}' or not v_is_big)
    loop
        begin
            perform private.try_out();
        exception
            when sqlstate 'PT299' then
                exit;
            when others then
                get stacked diagnostics
                    v_state = returned_sqlstate,
                    v_words = message_text,
                    v_table = table_name,
                    v_column = column_name,
                    v_constraint = constraint_name,
                    v_context = pg_exception_context;
        end;
        select * into v_fault
        from private.explain_fault(
            v_state, v_words, v_table, v_column, v_constraint, v_context
        );
        -- What refuses a made-up row, other than a trigger, may refuse what was made up: that tells
        -- nothing.
        exit when v_context like '%private.make_up(%'
            and v_state not in ('PT200', '42501')
            and v_fault.remedy not like 'drop trigger%';
        v_told := v_told || format(
            E'A message could not be written: %s\n   %s', v_fault.what, v_fault.remedy
        );
        begin
            execute v_fault.remedy;
        exception when others then
            exit;
        end;
    end loop;

    if v_told <> '{}' then
        raise exception using errcode = 'PT428', message = format(
            E'This database cannot be migrated as it is; nothing was changed. First:\n%s',
            (
                select string_agg(t.place || '. ' || t.told, E'\n' order by t.place)
                from unnest(v_told) with ordinality as t (told, place)
            )
        );
    end if;
end
$$;
