-- Whether a project has something of its own by a name of what writes messages: members, templates,
-- campaigns, appointments. Then none of it is applied, and the core, which is there by now, sends
-- as it does everywhere. Tables and columns of ours bear a mark in their comments.
-- Locks: none.
do $$
declare
    v_taken text;
begin
    select string_agg(taken.words, '; ' order by taken.words)
    into v_taken
    from (
        select format('%s is a table or view of this project', relation.oid::regclass) as words
        from unnest(array[
            'appointments',
            'audit_log',
            'campaign_recipients',
            'campaign_rehearsal_lines',
            'campaign_rehearsals',
            'campaign_retries',
            'campaign_runs',
            'campaigns',
            'connection_invitations',
            'connection_members',
            'daily_outcomes',
            'message_templates',
            'reminder_rules'
        ]) as ours (name)
        join pg_catalog.pg_class as relation
            on relation.relname = ours.name and relation.relnamespace = 'public'::regnamespace
        where coalesce(obj_description(relation.oid, 'pg_class'), '')
            not like 'scheduled messages:%'
        union all
        select format('%s is a function of this project', routine.oid::regprocedure)
        from unnest(array[
            'public.advance_campaign_run(uuid, integer)',
            'public.advance_rehearsal(uuid, text, integer, text, text, integer)',
            'public.approved_templates(text)',
            'public.contact_labels()',
            'public.estimate_campaign(uuid)',
            'public.estimate_campaign_runs(integer)',
            'public.finish_campaign_run(uuid)',
            'public.freeze_campaign_run(uuid, text, integer, text)',
            'public.get_campaign_agenda(integer)',
            'public.get_numbers_asked(integer)',
            'public.get_status_with_runs(double precision)',
            'public.invite_member(text, text)',
            'public.read_audit_log(text, bigint, text[], integer, text, timestamptz)',
            'public.read_messages(uuid, integer, text, timestamptz)',
            'public.record_approved_templates(text, boolean, text)',
            'public.record_judged_numbers(text, text, text[], text[], text[], text[])',
            'public.record_template_statuses(boolean, text)',
            'public.rehearse_campaign(uuid, integer, integer)',
            'public.render_template(uuid, jsonb)',
            'public.retry_campaign_run(uuid, text[])',
            'public.schedule_to_contacts(bigint[], text, text, text)',
            'public.send_test(uuid, text)',
            'public.set_up_reminders(text, text)',
            'public.settle_run(uuid, text)',
            'public.stop_campaign_run(uuid, text)',
            'public.stop_rehearsal(uuid, text)',
            'public.take_rehearsal(integer)',
            'public.start_campaign_run(uuid, integer, timestamptz, timestamptz, '
            'timestamp without time zone, text)',
            'public.take_ended_runs()'
        ]) as ours (signature)
        join pg_catalog.pg_proc as routine on routine.oid = to_regprocedure(ours.signature)
        where to_regclass('public.connection_members') is null
        union all
        select format('scheduled_messages.%I is a column of this project', field.attname)
        from pg_catalog.pg_attribute as field
        where field.attrelid = 'public.scheduled_messages'::regclass
            and field.attname in ('template_id', 'variables')
            and not field.attisdropped
            and coalesce(col_description(field.attrelid, field.attnum), '')
            not like 'scheduled messages:%'
    ) as taken;
    if v_taken is not null then
        raise exception using errcode = 'PT428', message = 'Scheduled messages are ready. Members, '
            || 'templates, campaigns and appointments are left out, because ' || v_taken
            || '. Rename what is yours and migrate again, or use --core (with supabase db push: '
            || 'without the files 20261128*), which leaves them out for good.';
    end if;
end
$$;
