-- How long the log is kept: pruned from its old end, a little at a time.

-- SECURITY DEFINER: deletes from the log.
create function policy.prune_some(keep interval, most integer) returns table (revision bigint, rows bigint)
  language plpgsql security definer set search_path = '' as $$
declare
  reached bigint;
begin
  if keep is null or keep < interval '1 day' then
    raise exception using
      errcode = 'invalid_parameter_value',
      message = format('changes are kept for a day at least, and not for %s', coalesce(keep::text, '(null)'));
  end if;
  -- One at a time: another replica is at it already.
  if not pg_try_advisory_xact_lock(1886350426) then
    return;
  end if;
  reached := (select max(r.number) from policy.revision as r where r.at < now() - keep);
  -- Said first: from now on readers from before are told that everything changed, whatever of it is left.
  update policy.log_window as w set pruned_to = reached where w.pruned_to < reached;
  reached := (select w.pruned_to from policy.log_window as w);
  with oldest as (
    select c.revision, c.ordinal from policy.change as c where c.revision <= reached order by c.revision, c.ordinal limit most
  ), gone as (
    delete from policy.change as c using oldest as o where c.revision = o.revision and c.ordinal = o.ordinal returning 1
  )
  select reached, count(*) into revision, rows from gone;
  return next;
end $$;
comment on function policy.prune_some(interval, integer) is
  'Deletes at most so many rows of what the log says of revisions older than that, and returns up to which revision it is pruned,
and how many rows went. No row is returned while somebody else is at it. Revisions themselves stay.';
revoke execute on function policy.prune_some(interval, integer) from public;

insert into policy.privilege (role, privilege)
select r.role, 'execute on function policy.prune_some(interval, integer)'
from (values ('policyd_owner'), ('policyd_service')) as r (role);
call policy.grant_access();
