-- Documents as they were: the views of today over the rows of then, which are today's with what the log says undone.
--
-- Nothing is written for it, so nobody waits and no right is needed that a reader lacks. A table's rows in a document
-- all carry its tag, so the rows of the wanted tags are enough.

create function policy.check_remembered(at bigint) returns void
  language plpgsql stable set search_path = '' as $$
declare
  head bigint := (select max(r.number) from policy.revision as r);
  gone bigint := (select w.pruned_to from policy.log_window as w);
begin
  if at between gone and head then
    return;
  end if;
  raise exception using
    errcode = 'object_not_in_prerequisite_state', schema = 'policy', table = 'change', constraint = 'what_was_pruned_cannot_be_told',
    message = case when at < gone and at >= 0
      then format('how things were at revision %s is not known any more: the log was pruned up to revision %s', at, gone)
      else format('there is no revision %s: they go from %s to %s', coalesce(at::text, '(null)'), gone, head) end;
end $$;
comment on function policy.check_remembered(bigint) is 'Refuses revisions that are not there, or from before the log begins.';

create function policy.rows_at(target regclass, at bigint, tags text[]) returns setof jsonb
  language plpgsql stable set search_path = '' as $$
declare
  name text := (select c.relname from pg_catalog.pg_class as c where c.oid = target);
  changed policy.net_change[] := array(
    select n from policy.net_changes(at + 1, (select max(r.number) from policy.revision as r), tags) as n where n."table" = name);
begin
  return query execute format(
    'select to_jsonb(t) from %s as t where t.tag = any ($1) '
    'and not exists (select from unnest($2) as k (key) cross join lateral jsonb_to_record(k.key) as p (%s) where %s)',
    target, policy.typed(target, policy.key_columns(target)), policy.same_key(target, 't', 'p'))
    using tags, array(select n.key from unnest(changed) as n);
  return query
  -- What the log says of a key that was seen is without its name.
  select policy.defaults(target) || n.key || n.before || jsonb_build_object('tag', n.tag)
  from unnest(changed) as n where n.before is not null;
end $$;
comment on function policy.rows_at(regclass, bigint, text[]) is 'The rows of a table that were part of these documents at a revision.';

create function policy.view_at(kind text) returns text
  language plpgsql stable set search_path = '' as $$
declare
  said text := rtrim(pg_get_viewdef(to_regclass('policy.' || quote_ident(kind || '_document'))), ';');
  name text;
  tables text[];
begin
  -- A function without arguments that only returns something stands for what it returns.
  for name in select distinct m[1] from regexp_matches(said, 'policy\.(\w+)\(\)', 'g') as m loop
    said := replace(said, format('policy.%s()', name), (
      select format('(%s)', substring(p.prosrc from '^\s*begin\s+return\s(.*);\s*end\s*$'))
      from pg_catalog.pg_proc as p where p.oid = to_regprocedure(format('policy.%I()', name))));
  end loop;
  tables := array(
    select distinct c.relname::text
    from regexp_matches(said, '\mpolicy\.(\w+)\M', 'g') as m
    join pg_catalog.pg_class as c on c.oid = to_regclass('policy.' || quote_ident(m[1])) and c.relkind = 'r');
  foreach name in array tables loop
    said := regexp_replace(said, format('\mpolicy\.%s\M(?!\()', name), quote_ident(name), 'g');
  end loop;
  return format('with %s select d.tag, d.body from (%s) as d where d.tag = any ($2)', (
    select string_agg(format(
      '%1$I as materialized (select p.* from policy.rows_at(''policy.%1$I'', $1, $2) as r (record) '
      'cross join lateral jsonb_populate_record(null::policy.%1$I, r.record) as p)', t), ', ')
    from unnest(tables) as t), said);
end $$;
comment on function policy.view_at(text) is 'The view of a kind of documents as a statement over its tables'' rows at revision $1, of the tags $2.';

create function policy.documents_at(at bigint, tags text[]) returns table (tag text, body jsonb)
  language plpgsql stable set search_path = '' as $$
declare
  kind text;
begin
  perform policy.check_remembered(at);
  for kind in select distinct split_part(t, '/', 1) from unnest(tags) as t order by 1 loop
    if kind <> all (policy.kinds()) or kind in ('api_token', 'smtp_credential') then
      raise exception using
        errcode = 'invalid_parameter_value',
        message = format('how a document of kind %L was cannot be told: allowed are %s', kind,
          array_to_string(array(select k from unnest(policy.kinds()) as k where k not in ('api_token', 'smtp_credential')), ', '));
    end if;
    return query execute policy.view_at(kind)
      using at, array(select t from unnest(tags) as t where split_part(t, '/', 1) = kind);
  end loop;
end $$;
comment on function policy.documents_at(bigint, text[]) is
  'The documents that there were among these at a revision, as policy.…_document shows them now. Nothing is changed or locked.
What let anybody in is not in the log, so tokens and credentials are not told.';
