-- What a rule of shaping's automation may be, and the records that rows of shaping are judged as.

create function policy.is_regex(t text) returns boolean
  language plpgsql immutable parallel safe set search_path = '' as $$
declare
  -- Every escape is one harmless letter, then classes go from the inside out, then groups do. Kumod's own engine
  -- knows more than any check here could: only what no engine takes is refused.
  rest text := regexp_replace(t, '\\.', 'x', 'g');
  before text;
begin
  if length(t) not between 1 and 10000 then
    return false;
  end if;
  -- With (?x) blanks and # mean something else.
  if rest ~ '\(\?[a-zA-Z]*x' then
    return true;
  end if;
  loop
    before := rest;
    rest := regexp_replace(rest, '\[\^?\]?[^][]*\]', 'x', 'g');
    exit when rest = before;
  end loop;
  if rest ~ '[\[\\]' or rest ~ '(^|[|(])[*+]' then
    return false;
  end if;
  loop
    before := rest;
    rest := regexp_replace(rest, '\([^()]*\)', 'x', 'g');
    exit when rest = before;
  end loop;
  return rest !~ '[()]';
end $$;
comment on function policy.is_regex(text) is
  'False for what cannot be a regex: an open bracket or parenthesis, a \ at the end, nothing to repeat. Kumod judges the rest.';

create function policy.action_values(action jsonb) returns table (name text, value jsonb)
  language sql immutable parallel safe
begin atomic
  select p.said ->> 'name', p.said -> 'value'
  from jsonb_array_elements(case when jsonb_typeof(action) = 'array' then action else '[]' end) as a (element)
  cross join lateral (select coalesce(a.element -> 'SetConfig', a.element -> 'SetDomainConfig') as said
                      where jsonb_typeof(a.element) = 'object') as p
  where jsonb_typeof(p.said) = 'object' and jsonb_typeof(p.said -> 'name') = 'string' and p.said ? 'value';
end;
comment on function policy.action_values(jsonb) is 'The options that a rule''s actions set.';

create function policy.is_action(value jsonb) returns boolean
  language sql immutable parallel safe
  return case jsonb_typeof(value)
    when 'string' then value #>> '{}' in ('Suspend', 'SuspendTenant', 'SuspendCampaign', 'Bounce', 'BounceTenant', 'BounceCampaign')
    when 'object' then (value - 'SetConfig' = '{}') <> (value - 'SetDomainConfig' = '{}')
      and exists (
        select from jsonb_each(value) as e (key, said)
        where jsonb_typeof(e.said) = 'object' and e.said - '{name,value}'::text[] = '{}')
      and exists (select from policy.action_values(jsonb_build_array(value)))
    else false
  end;
comment on function policy.is_action(jsonb) is
  'True for the name of an action, or {"SetConfig": {"name": OPTION, "value": …}}, or the same with SetDomainConfig.';

-- plpgsql, because it asks policy.problems, which asks it.
create function policy.action_problems(action jsonb) returns table (field text, value jsonb, problem text)
  language plpgsql stable parallel safe set search_path = '' as $$
begin
  if jsonb_typeof(action) is distinct from 'array' or action = '[]' then
    return query select 'action', action, format('action is %s; allowed is a list of at least one action.', policy.shown(action));
    return;
  end if;
  return query
  select 'action', a.element, format('action is %s; allowed is %s.', policy.shown(a.element),
    'Suspend, SuspendTenant, SuspendCampaign, Bounce, BounceTenant, BounceCampaign,'
    ' {"SetConfig": {"name": OPTION, "value": …}}, {"SetDomainConfig": {"name": OPTION, "value": …}}')
  from jsonb_array_elements(action) as a (element) where not policy.is_action(a.element)
  union all
  select 'action', p.value, format('action sets an option wrongly: %s', p.problem)
  from policy.action_values(action) as v
  cross join lateral policy.problems('egress_path', jsonb_build_object(v.name, v.value)) as p;
end $$;
comment on function policy.action_problems(jsonb) is 'What KumoMTA would refuse in the actions of a rule.';

create function policy.regex_problems(regex jsonb) returns table (field text, value jsonb, problem text)
  language sql stable parallel safe
begin atomic
  select 'regex', r.element, format('regex is %s: no engine takes that (an open bracket or parenthesis, a \ at the end, '
    'nothing to repeat).', policy.shown(r.element))
  from jsonb_array_elements(case when jsonb_typeof(regex) = 'array' then regex else '[]' end) as r (element)
  where jsonb_typeof(r.element) = 'string' and not policy.is_regex(r.element #>> '{}')
  union all
  select 'regex', regex, 'regex is empty; allowed is a list of at least one.' where regex is null or regex = '[]';
end;
comment on function policy.regex_problems(jsonb) is 'What cannot be the regexes of a rule.';

create or replace function policy.problems(object text, record jsonb) returns table (field text, value jsonb, problem text)
  language sql stable parallel safe
begin atomic
  -- No SET, one SELECT: the planner merges this into the statement that asks, so that triggers judge many rows at once.
  select e.key, case when o.format = 'secret' then null else e.value end,
         policy.sentence(problems.object, e.key, e.value, o.format)
  from jsonb_each(case when jsonb_typeof(record) = 'object' then record else '{}' end) as e (key, value)
  left join policy.option as o on o.object = problems.object and o.name = e.key and strpos(e.key, '.') = 0
  where (o.format is null or not policy.fits(o.format, e.value)) and not (problems.object = 'shaping_rule' and e.key = 'action')
  union all
  select l.field, record -> l.field, l.problem from policy.lonely(problems.object, record) as l
  union all
  select r.field, r.value, r.problem from policy.regex_problems(record -> 'regex') as r where problems.object = 'shaping_rule'
  union all
  select a.field, a.value, a.problem from policy.action_problems(record -> 'action') as a where problems.object = 'shaping_rule'
  union all
  select null, record, format('%s is not an object of options.', policy.shown(record))
  where jsonb_typeof(record) is distinct from 'object';
end;

create or replace function policy.record(object text, fields jsonb) returns jsonb
  language sql immutable parallel safe
  return case object
    when 'queue_config' then fields -> 'options'
    when 'listener_domain' then policy.with_boolean(policy.with_boolean(
      jsonb_strip_nulls(fields - '{listener,domain,tag}'::text[]), 'log_oob'), 'log_arf')
    when 'egress_source' then jsonb_strip_nulls(fields - '{node_group,tag}'::text[])
    when 'tenant' then jsonb_strip_nulls(fields - '{name,tenant,campaign,egress_pool,options,tag}'::text[])
    when 'dkim_settings' then jsonb_strip_nulls(fields - '{singleton,key_root,tag}'::text[])
    when 'dkim_domain' then jsonb_strip_nulls((fields || jsonb_build_object('algo', fields -> 'algorithm'))
      - '{domain,algorithm,key_root,key_name,not_before,not_after,tag}'::text[])
    when 'dkim_signature' then jsonb_strip_nulls((fields || jsonb_build_object('algo', fields -> 'algorithm'))
      - '{name,algorithm,key_root,key_name,not_before,not_after,tag}'::text[])
    -- A rule's actions set options, too: what is newer than a node's KumoMTA is found in either.
    when 'egress_path' then case when fields ? 'action'
      then (select coalesce(jsonb_object_agg(v.name, v.value), '{}') from policy.action_values(fields -> 'action') as v)
      else fields -> 'options' end
    when 'shaping_provider' then jsonb_strip_nulls(jsonb_build_object(
      'provider_connection_limit', fields -> 'provider_connection_limit',
      'provider_max_message_rate', fields -> 'provider_max_message_rate'))
    when 'shaping_provider_source' then jsonb_strip_nulls(jsonb_build_object(
      'provider_source_selection_rate', fields -> 'provider_source_selection_rate'))
    when 'shaping_rule' then jsonb_build_object('regex', fields -> 'regex', 'action', fields -> 'action',
        'duration', fields -> 'duration')
      || case when fields -> 'threshold' is distinct from 'null'
         then jsonb_build_object('threshold', fields -> 'threshold') else '{}' end
  end;
