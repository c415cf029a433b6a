-- Nodes: what is kept of their errors, who counts as live, and how far each of them is.

alter table policy.node
  add column first_seen timestamptz not null default now(),
  add column last_error_at timestamptz;
comment on column policy.node.first_seen is 'when it reported for the first time';
comment on column policy.node.last_error is 'what went wrong last, kept until something else does';
comment on column policy.node.last_error_at is 'when it said so';

create function policy.is_live(last_seen timestamptz) returns boolean language sql stable parallel safe
  return last_seen > now() - interval '10 minutes';
comment on function policy.is_live(timestamptz) is
  'Whether a node that was seen then is waited for and reckoned with: it reports twice a minute.';

create or replace function policy.old_nodes(since text) returns text
  language sql stable
begin atomic
  select string_agg(format('%s (%s)', n.node_id, n.kumomta_version), ', ' order by n.node_id)
  from policy.node as n
  -- What is no version says nothing: a node that reports "1" must not stop everybody's newer options.
  where policy.is_live(n.last_seen) and n.kumomta_version ~ '^\d{4}\.\d\d\.\d\d' and left(n.kumomta_version, 10) < since;
end;

create view policy.node_state as
select n.node_id, n.node_group, n.token, n.kumomta_version, n.client_version, n.applied_number, n.applied_stamp,
       n.first_seen, n.last_seen, policy.is_live(n.last_seen) as live,
       applied.number is not null as is_ours,
       case when applied.number is not null then head.number - applied.number end as behind,
       -- What reported a position of another history has waited since: the log does not say for what.
       case when n.applied_number is null then n.first_seen
            when applied.number is null then n.last_seen
            else (select r.at from policy.revision as r where r.number > n.applied_number order by r.number limit 1)
       end as waits_since,
       n.counts, n.last_error, n.last_error_at
from policy.node as n
cross join (select r.number from policy.revision as r order by r.number desc limit 1) as head
left join policy.revision as applied on applied.number = n.applied_number and applied.stamp = n.applied_stamp;
comment on view policy.node_state is 'What each kumod last said of itself, held against the log.';
comment on column policy.node_state.node_id is 'its name';
comment on column policy.node_state.node_group is 'the group whose sources and pools it gets';
comment on column policy.node_state.token is 'the only token that may speak for it';
comment on column policy.node_state.kumomta_version is 'such as 2026.08.04-3ebc1e85';
comment on column policy.node_state.client_version is 'of the Lua client';
comment on column policy.node_state.applied_number is 'the revision that it has applied';
comment on column policy.node_state.applied_stamp is 'and that revision''s stamp';
comment on column policy.node_state.first_seen is 'when it reported for the first time';
comment on column policy.node_state.last_seen is 'when it reported last';
comment on column policy.node_state.live is 'whether that was within ten minutes';
comment on column policy.node_state.is_ours is 'whether this log holds what it has applied; if not, it has another history';
comment on column policy.node_state.behind is 'how many revisions it has yet to apply; null: it has another history, or nothing';
comment on column policy.node_state.waits_since is 'since when there has been something that it has not applied; null: it has everything';
comment on column policy.node_state.counts is 'answers by outcome, since its kumod was started';
comment on column policy.node_state.last_error is 'what went wrong last';
comment on column policy.node_state.last_error_at is 'when it said so';

insert into policy.privilege (role, privilege)
select role, 'select on policy.node_state'
from unnest(array['policyd_owner', 'policyd_editor', 'policyd_service', 'policyd_reader']) as r (role)
union all
values ('policyd_service', 'delete on policy.node');
call policy.grant_access();
