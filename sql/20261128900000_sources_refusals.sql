-- What the tables of the sources refuse, in words: a person sees the comment of the check or of the
-- foreign key that does not hold, not its name.
-- Locks: `create trigger` takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

comment on constraint campaigns_template_id_owner_id_fkey on public.campaigns is
'There is no such template of yours.';
comment on constraint campaigns_next_run_is_scheduled on public.campaigns is
'Only what is scheduled or paused has a next run.';

comment on constraint connection_members_user_id_fkey on public.connection_members is
'There is no such user.';
comment on constraint connection_members_invitation_not_kept on public.connection_members is
'An invitation is not kept.';
comment on constraint reminder_rules_template_id_owner_id_fkey on public.reminder_rules is
'There is no such template of yours.';
comment on constraint connection_settings_approval_known on public.connection_settings is
'Either no campaign or all campaigns wait for another admin''s approval: none or campaigns.';
comment on constraint connection_settings_country_code_check on public.connection_settings is
'The country is its code of two capital letters, such as IN.';
comment on constraint connection_settings_window_complete on public.connection_settings is
'Sending hours need both a beginning and an end, and they differ.';
comment on constraint connection_settings_display_name_short on public.connection_settings is
'The name that is shown has at most 200 characters.';

-- The operator's.
comment on constraint connection_settings_gateway_fkey on public.connection_settings is
'There is no such gateway.';
comment on constraint connection_settings_sender_check on public.connection_settings is
'The sender is a name of 1 to 256 characters.';
comment on constraint connection_settings_messages_check on public.connection_settings is
'The messages in a period are 1 to 100,000.';
comment on constraint connection_settings_period_seconds_check on public.connection_settings is
'The period is 0.1 to 86,400 seconds.';
comment on constraint connection_settings_rate_complete on public.connection_settings is
'A pace needs both messages and period_seconds.';
comment on constraint connection_settings_burst_within_messages on public.connection_settings is
'The burst is at least 1, and at most the messages in a period.';
comment on constraint connection_settings_jitter_seconds_check on public.connection_settings is
'The jitter is 0 to 3,600 seconds.';
comment on constraint connection_settings_jitter_needs_rate on public.connection_settings is
'Jitter needs a pace: messages and period_seconds.';
comment on constraint connection_settings_daily_limit_check on public.connection_settings is
'The daily limit is 0 or more.';
comment on constraint connection_settings_at_daily_limit_check on public.connection_settings is
'At the daily limit messages wait (defer) or fail (fail).';
comment on constraint connection_settings_warm_up_days_check on public.connection_settings is
'Warming up takes 1 to 365 days.';
comment on constraint connection_settings_warm_up_limit_check on public.connection_settings is
'Warming up begins with a limit of 1 or more.';
comment on constraint connection_settings_warm_up_complete on public.connection_settings is
'Warming up needs warm_up_from, warm_up_days, warm_up_limit and a daily limit.';
comment on constraint connection_settings_recipient_interval_seconds_check
on public.connection_settings is
'Between two messages to one recipient lie 0 to 86,400 seconds.';

-- Writes the trigger of a table of ours that users write, from the catalog, so that it says what
-- the table's constraints say. What has no value and needs one comes first.
create or replace function private.write_refusals_of(p_table text)
returns void
language plpgsql
set search_path = ''
as $outer$
declare
    v_table constant regclass := ('public.' || p_table)::regclass;
    v_cases text;
begin
    select string_agg(refusal.said, '' order by refusal.rank, refusal.name)
    into v_cases
    from (
        select
            1 as rank,
            a.attname::text as name,
            format(
                E'\n        when new.%I is null then %L',
                a.attname, format('The %s is missing.', replace(a.attname, '_', ' '))
            ) as said
        from pg_catalog.pg_attribute as a
        where a.attrelid = v_table and a.attnum > 0 and not a.attisdropped and a.attnotnull
        union all
        select
            2,
            k.conname,
            format(
                E'\n        when (%s) is false then %L',
                pg_catalog.pg_get_expr(k.conbin, k.conrelid),
                coalesce(pg_catalog.obj_description(k.oid, 'pg_constraint'), k.conname)
            )
        from pg_catalog.pg_constraint as k
        where k.conrelid = v_table and k.contype = 'c'
        union all
        -- A reference, by all of its columns.
        select
            3,
            k.conname,
            format(
                E'\n        when %s and not exists (select from %s as r where %s) then %L',
                (
                    select string_agg(format('new.%I is not null', here.attname), ' and ')
                    from unnest(k.conkey) as key (number)
                    join pg_catalog.pg_attribute as here
                        on here.attrelid = k.conrelid and here.attnum = key.number
                ),
                k.confrelid::regclass,
                (
                    select string_agg(
                        format('r.%I = new.%I', there.attname, here.attname), ' and '
                    )
                    from unnest(k.conkey, k.confkey) as key (here, there)
                    join pg_catalog.pg_attribute as here
                        on here.attrelid = k.conrelid and here.attnum = key.here
                    join pg_catalog.pg_attribute as there
                        on there.attrelid = k.confrelid and there.attnum = key.there
                ),
                pg_catalog.obj_description(k.oid, 'pg_constraint')
            )
        from pg_catalog.pg_constraint as k
        where k.conrelid = v_table
            and k.contype = 'f'
            and pg_catalog.obj_description(k.oid, 'pg_constraint') is not null
    ) as refusal;

    execute format(
        $format$
create or replace function private.refuse_nonsense_in_%1$s()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_words text;
begin
    select case%2$s
    end
    into v_words
    from (select new.*) as %1$s;
    if v_words is not null then
        raise exception using message = v_words, errcode = 'PT400';
    end if;
    return new;
end
$$
        $format$, p_table, v_cases
    );
    execute format(
        'revoke all on function private.refuse_nonsense_in_%s from public', p_table
    );
    -- After the guards and whatever else makes the row, by its name.
    execute format(
        'create or replace trigger zz_refuse_nonsense before insert or update on public.%I '
        'for each row when ('
        'row_security_active(''private.connection_owners''::regclass) '
        'and not pg_has_role(''service_role'', ''usage'')) '
        'execute function private.refuse_nonsense_in_%s()',
        p_table, p_table
    );
end
$outer$;
revoke all on function private.write_refusals_of from public;

select private.write_refusals_of(ours.name)
from unnest(array[
    'appointments', 'campaigns', 'connection_invitations', 'connection_members',
    'connection_settings', 'message_templates', 'reminder_rules'
]) as ours (name);
