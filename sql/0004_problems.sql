-- The catalogue of KumoMTA's options, and the judge of whole records in KumoMTA's spelling.

create table policy.option (
  object text not null,
  name text not null,
  format text not null,
  since text constraint since_is_a_version_of_kumomta check (since ~ '^\d{4}\.\d\d\.\d\d$'),
  restricted boolean not null default false,
  note text,
  constraint options_are_listed_once primary key (object, name)
);
comment on table policy.option is 'What KumoMTA''s constructors accept. Written by migrations from sql/options.toml.';
comment on column policy.option.object is
  'listener_domain, egress_source, egress_pool, queue_config, egress_path, dkim_settings, dkim_domain, dkim_signature; tenant for what only the queue helper reads';
comment on column policy.option.name is 'the option; dotted: something inside its value that is newer or restricted';
comment on column policy.option.format is 'what policy.fits must find';
comment on column policy.option.since is 'the first KumoMTA that knows it, such as 2026.08.04; null: older than policyd';
comment on column policy.option.restricted is 'reaches outside mail: refused to who is not a member of policyd_owner';
comment on column policy.option.note is 'for readers';

create function policy.distance(a text, b text) returns integer
  language plpgsql immutable parallel safe set search_path = '' as $$
declare
  above integer[];
  here integer[];
begin
  above := array(select n from generate_series(0, length(b)) as g (n));
  for i in 1 .. length(a) loop
    here := array[i];
    for j in 1 .. length(b) loop
      here := here || least(
        here[j] + 1, above[j + 1] + 1, above[j] + case when substr(a, i, 1) = substr(b, j, 1) then 0 else 1 end);
    end loop;
    above := here;
  end loop;
  return above[length(b) + 1];
end $$;
comment on function policy.distance(text, text) is 'How many letters must change to make one word the other (Levenshtein).';

create function policy.nearest(object text, name text) returns text
  language sql stable parallel safe
begin atomic
  select o.name
  from policy.option as o
  where o.object = nearest.object and strpos(o.name, '.') = 0
    and policy.distance(left(lower(nearest.name), 64), o.name) <= 1 + length(o.name) / 3
  order by policy.distance(left(lower(nearest.name), 64), o.name), o.name
  limit 1;
end;
comment on function policy.nearest(text, text) is 'The option that was probably meant, or null.';

create function policy.shown(value jsonb) returns text
  language sql immutable parallel safe
begin atomic
  select left(r.text, 200) || case when length(r.text) > 200 then '…' else '' end
  from regexp_replace(value::text, '[^"[:space:]/@:]*:[^"[:space:]@]*@', '…@', 'g') as r (text);
end;
comment on function policy.shown(jsonb) is
  'A value for a sentence, cut if long, without what stands before an @ like user:password: servers keep sentences in logs.';

create function policy.sentence(object text, field text, value jsonb, format text) returns text
  language plpgsql stable parallel safe set search_path = '' as $$
begin
  return case
    when format is null then format('%s is no option of %s%s', left(field, 64), object,
      coalesce('; did you mean ' || policy.nearest(object, field) || '?', '.'))
    when format = 'secret' then format(
      '%s holds something else than a reference (not shown); allowed is %s.', field, policy.allowed(format))
    else format('%s is %s; allowed is %s.', field, policy.shown(value), policy.allowed(format))
  end;
end $$;
comment on function policy.sentence(text, text, jsonb, text) is 'Says what is wrong with a field, and what is allowed.';

create function policy.lonely(object text, record jsonb) returns table (field text, problem text)
  language sql stable parallel safe
begin atomic
  select case when record ? p.one then p.one else p.other end,
         format('%s is set without %s; %s.', case when record ? p.one then p.one else p.other end,
                case when record ? p.one then p.other else p.one end, p.why)
  from (values
    ('egress_source', 'ha_proxy_server', 'ha_proxy_source_address',
     'KumoMTA then ignores the proxy and connects directly: set both or neither'),
    ('egress_source', 'socks5_proxy_server', 'socks5_proxy_source_address',
     'KumoMTA then ignores the proxy and connects directly: set both or neither'),
    ('egress_source', 'socks5_proxy_username', 'socks5_proxy_password',
     'KumoMTA then does not authenticate: set both or neither')) as p (object, one, other, why)
  where p.object = lonely.object and (record ? p.one) <> (record ? p.other);
end;
comment on function policy.lonely(text, jsonb) is 'Fields that KumoMTA uses only in pairs and that stand alone.';

create function policy.problems(object text, record jsonb) returns table (field text, value jsonb, problem text)
  language sql stable parallel safe
begin atomic
  -- No SET, one SELECT: the planner merges this into the statement that asks, so that triggers judge many rows at once.
  select e.key, case when o.format = 'secret' then null else e.value end,
         policy.sentence(problems.object, e.key, e.value, o.format)
  from jsonb_each(case when jsonb_typeof(record) = 'object' then record else '{}' end) as e (key, value)
  left join policy.option as o on o.object = problems.object and o.name = e.key and strpos(e.key, '.') = 0
  where o.format is null or not policy.fits(o.format, e.value)
  union all
  select l.field, record -> l.field, l.problem from policy.lonely(problems.object, record) as l
  union all
  select null, record, format('%s is not an object of options.', policy.shown(record))
  where jsonb_typeof(record) is distinct from 'object';
end;
comment on function policy.problems(text, jsonb) is
  'What KumoMTA would refuse or misunderstand in a record, one row a field. Objects are those of policy.option.';

create function policy.uses(record jsonb) returns setof text
  language sql immutable parallel safe
begin atomic
  select e.key from jsonb_each(record) as e (key, value)
  union all
  select e.key || case when e.value #>> '{}' ~ '^/' then '.unix' else '.host' end
  from jsonb_each(record) as e (key, value)
  where e.key like '%\_proxy\_server' and e.value #>> '{}' !~ '^(\[.*\]|[\d.]+):\d+$'
  union all
  select 'protocol.' || p.key
  from jsonb_each(case when jsonb_typeof(record -> 'protocol') = 'object' then record -> 'protocol' else '{}' end) as p (key, value)
  union all
  select 'protocol.smtp.' || s.key
  from jsonb_each(case when jsonb_typeof(record #> '{protocol,smtp}') = 'object' then record #> '{protocol,smtp}' else '{}' end)
    as s (key, value);
end;
comment on function policy.uses(jsonb) is
  'The names under which the catalogue may say that a record is newer or restricted: options, and things inside them.';

create function policy.with_boolean(fields jsonb, field text) returns jsonb
  language sql immutable parallel safe
  return case when fields ->> field in ('true', 'false')
    then jsonb_set(fields, array[field], (fields ->> field)::jsonb) else fields end;
comment on function policy.with_boolean(jsonb, text) is 'The fields with text true or false in this one made a boolean.';

create function policy.record(object text, fields jsonb) returns jsonb
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
  end;
comment on function policy.record(text, jsonb) is 'The record in KumoMTA''s spelling that a row (as jsonb) stands for.';
