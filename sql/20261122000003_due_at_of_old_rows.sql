-- Rows that were pending before the trigger was there fall due like others. A thousand at a time, so that nobody who edits one
-- of them waits for all of them.
do $$
declare
    v_from uuid := '00000000-0000-0000-0000-000000000000';
    v_to uuid;
begin
    loop
        select portion.id into v_to
        from (select s.id from public.scheduled_messages as s where s.id >= v_from order by s.id limit 1000) as portion
        order by portion.id desc limit 1;
        update public.scheduled_messages as s set due_at = s.scheduled_at
        where s.id between v_from and v_to and s.status = 'pending' and s.due_at is null;
        exit when v_to is null or v_to = v_from;
        v_from := v_to;
        commit;
    end loop;
end
$$;
